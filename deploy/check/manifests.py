"""Checks the Kubernetes manifests, the Helm chart and the compose file.

    manifests.py GATEWAY CRD_FOLDER [--kubernetes 1.29,1.37]

GATEWAY is the program whose `serve --help` says which options there are; CRD_FOLDER holds the
definitions of the Prometheus operator, or is empty, and then monitors stay unchecked, with a word.

Each rule is also tried on a copy that breaks it, and must refuse the copy.
"""

import argparse
import copy
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import helm_python as helm
import jsonschema
import kubernetes_validate
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.certificate import self_signed
from tools.gateway import ROOT
from tools.process import Process, ProcessError

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "savepoint-gateway"
PREFIX = "SAVEPOINT_GATEWAY_"
# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
OTEL = re.compile(r"OTEL_(EXPORTER_OTLP|TRACES|RESOURCE|SERVICE|PROPAGATORS|BSP|SDK)[A-Z_]*")


class Refused(Exception):
    """A manifest breaks a rule."""


def need(holds: bool, text: str) -> None:
    if not holds:
        raise Refused(text)


# --- what the program takes ---------------------------------------------------------------------


def options_of(gateway: str) -> dict[str, str]:
    """The variable of each option of `serve`, by its flag."""
    text = subprocess.run([gateway, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    flags = re.findall(r"^\s+(?:-\w, )?--([a-z-]+)", text, re.M)
    found = {flag: PREFIX + flag.upper().replace("-", "_") for flag in flags if flag not in ("help", "version")}
    need(len(found) > 20, "the help text lists hardly any options")
    need(f"{PREFIX}MAX_TIMEOUT" in " ".join(text.split()), "the help text does not tell the rule of the variables")
    return found


def cloud_variables() -> set[str]:
    """The variables that the options read besides the gateway's own, from their source."""
    text = "".join(path.read_text() for path in sorted((ROOT / "src").rglob("options.rs")))
    return set(re.findall(r'"((?:HUAWEICLOUD|HW|ALIBABA_CLOUD)_[A-Z0-9_]+)"', text))


# --- pods ---------------------------------------------------------------------------------------


def pod_specs(resource: dict):
    if resource["kind"] == "Pod":
        yield resource["spec"]
    elif "template" in (resource.get("spec") or {}):
        yield resource["spec"]["template"]["spec"]


def containers(pod: dict) -> list[dict]:
    return pod.get("initContainers", []) + pod["containers"]


def is_gateway(container: dict) -> bool:
    return "savepoint-gateway" in container["image"]


def restricted(pod: dict) -> None:
    """The profile `restricted` of the pod security standards, and what the project adds.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        need(not pod.get(name), f"{name} is set")
    allowed = {"name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in pod.get("volumes") or []:
        need(set(volume) <= allowed, f"volume {volume['name']} is of a kind that is not allowed")
    context = pod.get("securityContext", {})
    need(context.get("runAsNonRoot") is True, "runAsNonRoot is not set")
    need(isinstance(context.get("runAsUser"), int) and context["runAsUser"] > 0, "runAsUser is no number above 0")
    need(context.get("seccompProfile", {}).get("type") == "RuntimeDefault", "the seccomp profile is not RuntimeDefault")
    need(pod.get("automountServiceAccountToken") is False, "the token for the Kubernetes API is mounted")
    for container in containers(pod):
        name, own = container["name"], container.get("securityContext", {})
        need(own.get("allowPrivilegeEscalation") is False, f"{name} may gain privileges")
        need(own.get("capabilities") == {"drop": ["ALL"]}, f"{name} does not drop all capabilities")
        need(own.get("readOnlyRootFilesystem") is True, f"{name} can write to its root")
        need(not own.get("privileged"), f"{name} is privileged")
        need(own.get("runAsNonRoot", True) and own.get("runAsUser", 1) != 0, f"{name} runs as root")
        need(own.get("seccompProfile", {}).get("type", "RuntimeDefault") == "RuntimeDefault", f"{name} has no seccomp profile")
        need(not any("hostPort" in port for port in container.get("ports", [])), f"{name} uses a port of the host")
        need("memory" in container.get("resources", {}).get("limits", {}), f"{name} has no limit of memory")


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def variables_of(container: dict) -> dict[str, str]:
    env = container.get("env", [])
    names = [one["name"] for one in env]
    need(len(names) == len(set(names)), f"{container['name']} sets a variable twice")
    return {one["name"]: one.get("value", "") for one in env}


def known_variables(container: dict, options: dict[str, str], clouds: set[str]) -> None:
    for name in variables_of(container):
        known = name in options.values() or name in clouds or OTEL.fullmatch(name)
        need(bool(known), f"{container['name']} sets {name}, which the program does not read")


def gateway_in_pod(pod: dict, options: dict[str, str], clouds: set[str]) -> None:
    for container in containers(pod):
        if not is_gateway(container):
            continue
        known_variables(container, options, clouds)
        if container.get("args", ["serve"])[0] != "serve":
            continue
        env = variables_of(container)
        sidecar = container in pod.get("initContainers", [])
        if sidecar:
            need(container.get("restartPolicy") == "Always", "a sidecar must be restarted always")
            need(env[PREFIX + "LISTEN"].startswith(("127.0.0.1:", "unix:")), "a sidecar must listen on loopback")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            found = container.get(probe, {})
            service = found.get("grpc", {}).get("service")
            need(service == ("readiness" if probe == "readinessProbe" else "liveness"), f"{probe} asks for {service}")
            port = env[PREFIX + "ADMIN_LISTEN"].rpartition(":")[2]
            need(str(found["grpc"]["port"]) == port, f"{probe} asks another port than the admin address")
        drain = seconds(env.get(PREFIX + "DRAIN_DELAY", "0s")) + seconds(env.get(PREFIX + "DRAIN_TIMEOUT", "10s"))
        need(pod["terminationGracePeriodSeconds"] > drain, "SIGKILL comes before the drain is over")
        if not sidecar:
            need(seconds(env.get(PREFIX + "DRAIN_TIMEOUT", "10s")) >= 10, "the drain timeout is short")
        mounted = {mount["mountPath"] for mount in container.get("volumeMounts") or []}
        for name, value in env.items():
            path = re.sub(r"^(dir|password|token-file):", "", value)
            if path.startswith("/"):
                need(any(path == at or path.startswith(at + "/") for at in mounted), f"{name} names {path}, which is not mounted")
        volumes = {volume["name"] for volume in pod.get("volumes") or []}
        for mount in container.get("volumeMounts") or []:
            need(mount["name"] in volumes, f"the mount {mount['name']} has no volume")


def admin_is_closed(resources: list[dict]) -> None:
    """Whoever is in the cluster must not reach the admin port of a gateway: a policy selects its pod and
    opens the port to named peers only."""
    for resource in resources:
        for pod in pod_specs(resource):
            for container in containers(pod):
                if not is_gateway(container) or container.get("args", ["serve"])[0] != "serve":
                    continue
                host, _, port = variables_of(container)[PREFIX + "ADMIN_LISTEN"].rpartition(":")
                if host in ("127.0.0.1", "[::1]"):
                    continue
                labels = resource["spec"]["template"]["metadata"]["labels"]
                policies = [
                    one["spec"] for one in resources
                    if one["kind"] == "NetworkPolicy"
                    and one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
                ]
                need(bool(policies), "no NetworkPolicy selects the pod, so everyone reaches the admin port")
                for rule in (rule for policy in policies for rule in policy.get("ingress", [])):
                    opened = any(
                        one["port"] in ("admin", int(port))
                        or isinstance(one["port"], int) and one["port"] <= int(port) <= one.get("endPort", 0)
                        for one in rule.get("ports", [{"port": "admin"}])
                        if one.get("protocol", "TCP") == "TCP"
                    )
                    need(not opened or bool(rule.get("from")), "a NetworkPolicy opens the admin port to everyone")


def starts(gateway: str, container: dict) -> None:
    """The program takes the container's variables and begins to listen. On loopback: ports, files and
    whatever it would fetch credentials from are replaced, everything else is as it stands."""
    env = variables_of(container)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        for name in ("access_key_id", "access_key_secret", "token", "password"):
            (files / name).write_text("example")
        self_signed(files)
        for name, value in env.items():
            if value.startswith("dir:") or value.startswith("ecs"):
                env[name] = f"dir:{files}"
            elif value.startswith("password:"):
                env[name] = f"password:{files}/password"
            elif name.endswith("_POLICY"):
                (files / "policy.toml").write_text('[[allow]]\ncallers = ["*"]\nmethods = ["savepoint.v1.SavepointService/*"]\n')
                env[name] = f"{files}/policy.toml"
            elif name.endswith(("_TOKEN_FILE", "_AUTHORIZATION_FILE")):
                env[name] = f"{files}/token"
            elif value.startswith("/"):
                env[name] = f"{files}/{'tls.key' if name.endswith('KEY') else 'tls.crt'}"
        env |= {PREFIX + "LISTEN": "127.0.0.1:0", PREFIX + "ADMIN_LISTEN": "127.0.0.1:0", PREFIX + "LOG_LEVEL": "info"}
        # Nothing listens there, so no token service is reached.
        env |= {PREFIX + "UPSTREAM_PROXY": "http://127.0.0.1:9"}
        env.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
        for one in container.get("envFrom", []):
            if "secretRef" in one:
                env |= {"ALIBABA_CLOUD_ACCESS_KEY_ID": "EXAMPLE", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "example"}
        program = Process(
            "the program",
            [gateway, *container.get("args", [])],
            environment={name: value for name, value in env.items() if value},
            ready=lambda line: "listening" in line,
        )
        try:
            program.start()
        except ProcessError as error:
            raise Refused(f"it does not start with the container's variables: {error}") from error
        need(program.stop(120) == 0, "the program does not end in order")


# --- schemas ------------------------------------------------------------------------------------


class Schemas:
    def __init__(self, crds: Path | None, versions: list[str]):
        self._versions, self._custom = versions, {}
        self.unchecked = set()
        for path in sorted(crds.glob("*_*monitors.yaml")) if crds else []:
            definition = yaml.safe_load(path.read_text())
            for version in definition["spec"]["versions"]:
                kind = (f"{definition['spec']['group']}/{version['name']}", definition["spec"]["names"]["kind"])
                self._custom[kind] = closed(version["schema"]["openAPIV3Schema"])

    def check(self, resource: dict) -> None:
        kind = (resource.get("apiVersion", ""), resource.get("kind", ""))
        if kind[0].startswith("monitoring.coreos.com/"):
            if kind not in self._custom:
                self.unchecked.add(kind[1])
                return
            try:
                jsonschema.validate(resource, self._custom[kind])
            except jsonschema.ValidationError as error:
                raise Refused(f"{kind[1]}: {error.message}") from error
            return
        for version in self._versions:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                raise Refused(f"{kind[1]} for Kubernetes {version}: {error.message}") from error


def closed(schema: dict) -> dict:
    """The schema, refusing fields that it does not know. A definition of a kind allows any."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
            properties = schema["properties"]
            # The schema says nothing of what every resource has.
            if not ("apiVersion" in properties and "metadata" in properties):
                if not schema.get("x-kubernetes-preserve-unknown-fields"):
                    schema["additionalProperties"] = False
    elif isinstance(schema, list):
        schema = [closed(value) for value in schema]
    return schema


# --- the chart ----------------------------------------------------------------------------------


def render(values: dict) -> list[dict]:
    try:
        manifests = helm.Chart.load(CHART).render(values, name="release", namespace="namespace")
    except helm.HelmError as error:
        raise Refused(str(error)) from error
    need("helm test" in manifests["savepoint-gateway/templates/NOTES.txt"], "the notes are not rendered")
    found = []
    for name, text in manifests.items():
        if name.endswith(".yaml"):
            found += [resource for resource in yaml.safe_load_all(text) if resource]
    need(bool(found), "the chart renders nothing")
    return found


def lint(values: dict) -> None:
    report = helm.lint(CHART, values, strict=True)
    need(not report["errors"], f"lint: {report['errors']}")
    loud = [message for message in report["messages"] if message["severity"] >= 2]
    need(not loud, f"lint: {loud}")


# Options that the chart sets by values of their own.
FIRST_CLASS = {
    "listen", "admin-listen", "upstream-ca", "upstream-client-cert", "upstream-client-key", "tls-cert", "tls-key", "tls-client-ca", "tls-client-auth",
    "huawei-region", "huawei-endpoint", "huawei-project-id", "huawei-credentials",
    "policy", "flink-cluster", "flink-authorization-file",
    "alibaba-region", "alibaba-endpoint", "alibaba-workspace", "alibaba-credentials",
}  # fmt: skip
# Options that the chart does not set: it has no Unix socket.
WITHOUT_CHART = {"socket-mode"}


def chart_knows_every_option(options: dict[str, str]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    listed = set(schema["properties"]["options"]["properties"])
    known = listed | FIRST_CLASS | WITHOUT_CHART
    need(known == set(options), f"options of the chart and of serve differ: {sorted(known ^ set(options))}")
    all_values = yaml.safe_load((CHART / "ci/all-values.yaml").read_text())
    need(set(all_values["options"]) == listed, "ci/all-values.yaml does not set every option")
    texts = "".join(path.read_text() for path in (CHART / "templates").rglob("*.yaml"))
    for flag in FIRST_CLASS:
        name = flag.upper().replace("-", "_")
        need(PREFIX + name in texts or f'"{name}"' in texts, f"the chart does not set --{flag}")


def schema_covers_values() -> None:
    """Every default is in the schema, down to the last key."""

    def walk(schema: dict, values: dict, where: str) -> None:
        if "properties" not in schema:
            return
        for key, value in values.items():
            need(key in schema["properties"], f"values.schema.json lacks {where}{key}")
            if isinstance(value, dict):
                walk(schema["properties"][key], value, f"{where}{key}.")

    walk(json.loads((CHART / "values.schema.json").read_text()), yaml.safe_load((CHART / "values.yaml").read_text()), "")


# --- variants -----------------------------------------------------------------------------------


def without_credentials(resources: list[dict]) -> list[dict]:
    resources = copy.deepcopy(resources)
    for resource in resources:
        for pod in pod_specs(resource):
            pod.pop("volumes", None)
            for container in containers(pod):
                container.pop("volumeMounts", None)
                container["env"] = [
                    one for one in container.get("env", [])
                    if not re.match(r"HUAWEICLOUD_|HW_|ALIBABA_CLOUD_|.*_CREDENTIALS$", one["name"])
                ]
    return resources


def same_but_for_credentials(one: list[dict], other: list[dict]) -> None:
    need(without_credentials(one) == without_credentials(other), "the variants differ in more than their credentials")


# --- all of it ----------------------------------------------------------------------------------


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def holds(self, what: str, check) -> None:
        try:
            check()
        except Refused as refusal:
            self.failed += 1
            print(f"  FAILED  {what}: {refusal}")
        else:
            self.passed += 1

    def refuses(self, what: str, check) -> None:
        """The rule must not hold: a rule that cannot fail proves nothing."""
        try:
            check()
        except Refused:
            self.passed += 1
        else:
            self.failed += 1
            print(f"  FAILED  {what} was accepted")


def changed(resources: list[dict], change) -> list[dict]:
    resources = copy.deepcopy(resources)
    pods = [pod for resource in resources for pod in pod_specs(resource)]
    change(pods[0], next(c for c in containers(pods[0]) if is_gateway(c)))
    return resources


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("gateway")
    arguments.add_argument("crds", nargs="?", default="")
    arguments.add_argument("--kubernetes", default="1.29,1.37")
    given = arguments.parse_args()
    schemas = Schemas(Path(given.crds) if given.crds else None, given.kubernetes.split(","))
    options, clouds = options_of(given.gateway), cloud_variables()
    checks = Checks()

    def whole(resources: list[dict]) -> None:
        for resource in resources:
            schemas.check(resource)
            for pod in pod_specs(resource):
                restricted(pod)
                gateway_in_pod(pod, options, clouds)

    def closed_to_others(resources: list[dict]) -> None:
        whole(resources)
        admin_is_closed(resources)

    files = {
        path.name: list(yaml.safe_load_all(path.read_text()))
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    }
    for name, resources in files.items():
        checks.holds(f"deploy/kubernetes/{name}", lambda r=resources: closed_to_others(r))
    for kind in ("shared", "sidecar"):
        variants = files[f"{kind}-secret.yaml"], files[f"{kind}-workload-identity.yaml"]
        checks.holds(f"variants of {kind}", lambda v=variants: same_but_for_credentials(*v))

    value_sets = {path.name: yaml.safe_load(path.read_text()) for path in sorted((CHART / "ci").glob("*.yaml"))}
    for name, values in value_sets.items():
        checks.holds(f"helm lint, {name}", lambda v=values: lint(v))
        checks.holds(f"helm template, {name}", lambda v=values: whole(render(v)))
    checks.holds("options of the chart", lambda: chart_knows_every_option(options))
    checks.holds("schema of the values", schema_covers_values)

    compose = yaml.safe_load((DEPLOY / "compose/docker-compose.yaml").read_text())
    service = compose["services"]["gateway"]
    container = {"name": "compose", "env": [{"name": n, "value": v} for n, v in service["environment"].items()]}
    checks.holds("variables of the compose file", lambda: known_variables(container, options, clouds))
    command = service["command"]
    help_text = subprocess.run([given.gateway, command[0], "--help"], capture_output=True, text=True, check=True).stdout
    for flag in (word for word in command[1:] if word.startswith("--")):
        checks.holds(f"{flag} of the compose file", lambda f=flag: need(f + " " in help_text, "no such flag"))

    def environment_of(path: Path) -> dict:
        """The variables of a drop-in or of a file of variables."""
        lines = (line.removeprefix("Environment=") for line in path.read_text().splitlines())
        pairs = [line.split("=", 1) for line in lines if re.match(r"[A-Z][A-Z_]*=", line)]
        need(bool(pairs), f"{path.name} sets no variable")
        return {"name": path.name, "env": [{"name": n, "value": v} for n, v in pairs]}

    for path in sorted((DEPLOY / "systemd").iterdir()):
        if path.suffix in (".env", ".conf"):
            checks.holds(
                f"variables of {path.name}",
                lambda p=path: known_variables(environment_of(p), options, clouds),
            )

    def gateways(resources: list[dict]) -> list[dict]:
        pods = [pod for resource in resources for pod in pod_specs(resource)]
        return [c for pod in pods for c in containers(pod) if is_gateway(c) and c["args"] == ["serve"]]

    served = {name: gateways(resources) for name, resources in files.items()}
    served |= {f"chart, {name}": gateways(render(values)) for name, values in value_sets.items()}
    for name, found in served.items():
        checks.holds(f"{name} starts", lambda f=found: [need(len(f) == 1, "no gateway"), starts(given.gateway, f[0])])
    wrong = changed(files["shared-secret.yaml"], lambda pod, c: c["env"].append({"name": PREFIX + "CONNECT_TIMEOUT", "value": "5"}))
    checks.refuses("a duration without a unit", lambda: starts(given.gateway, gateways(wrong)[0]))

    def breaks(what: str, change, name: str = "sidecar-secret.yaml") -> None:
        checks.refuses(what, lambda: whole(changed(files[name], change)))

    breaks("an unknown field", lambda pod, c: c.update(imagePullPolicies="Always"))
    breaks("a field of a wrong type", lambda pod, c: pod.update(terminationGracePeriodSeconds="long"))
    breaks("a pod that may be root", lambda pod, c: pod["securityContext"].pop("runAsNonRoot"))
    breaks("a container with a capability", lambda pod, c: c["securityContext"].update(capabilities={"drop": ["NET_RAW"]}))
    breaks("a writable root", lambda pod, c: c["securityContext"].pop("readOnlyRootFilesystem"))
    breaks("no seccomp profile", lambda pod, c: pod["securityContext"].pop("seccompProfile"))
    breaks("a token of the Kubernetes API", lambda pod, c: pod.pop("automountServiceAccountToken"))
    breaks("a path of the host", lambda pod, c: pod["volumes"].append({"name": "h", "hostPath": {"path": "/"}}))
    breaks("a variable that does not exist", lambda pod, c: c["env"].append({"name": PREFIX + "DRAIN_DELAYS", "value": "1s"}))
    breaks("a variable of a cloud that does not exist", lambda pod, c: c["env"].append({"name": "HUAWEICLOUD_SDK_KEY", "value": "x"}))
    breaks("a sidecar that everyone reaches", lambda pod, c: c["env"][0].update(value="0.0.0.0:50051"))
    sidecar = files["sidecar-secret.yaml"]
    without = [one for one in sidecar if one["kind"] != "NetworkPolicy"]
    checks.refuses("an admin port without a policy", lambda: admin_is_closed(without))
    opened = copy.deepcopy(sidecar)
    next(one for one in opened if one["kind"] == "NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["endPort"] = 65535
    checks.refuses("an admin port within an open range", lambda: admin_is_closed(opened))
    breaks("a sidecar that is waited for", lambda pod, c: c.pop("restartPolicy"))
    breaks("a SIGKILL within the drain", lambda pod, c: pod.update(terminationGracePeriodSeconds=45), "shared-secret.yaml")
    breaks("a secret that is not mounted", lambda pod, c: c["volumeMounts"].pop(), "shared-secret.yaml")
    checks.refuses("a variant with another limit", lambda: same_but_for_credentials(
        files["shared-secret.yaml"],
        changed(files["shared-secret.yaml"], lambda pod, c: c["resources"]["limits"].update(memory="1Gi")),
    ))
    cloud = {"alibaba": {"region": "cn-hangzhou"}}
    for what, values in {
        "no cloud": {},
        "an unknown value": {**cloud, "replica": 2},
        "an unknown option": {**cloud, "options": {"max-conection-age": "5m"}},
        "an option without a unit": {**cloud, "options": {"drain-delay": "5"}},
        "two sources of credentials": {"alibaba": {"region": "r", "credentials": {"secretName": "s", "source": "ecs"}}},
        "two sources, one of them a password": {"huawei": {"region": "r", "credentials": {
            "source": "ecs", "password": {"domainName": "d", "userName": "u", "secretName": "s"}}}},
        "a password of nobody": {"huawei": {"region": "r", "credentials": {"password": {"secretName": "s"}}}},
        "half an identity": {"alibaba": {"region": "r", "credentials": {"oidc": {"roleArn": "r"}}}},
        "callers' CA without a certificate": {**cloud, "tls": {"clientCaSecretName": "c"}},
    }.items():
        checks.refuses(f"chart: {what}", lambda v=values: render(v))
    monitor = next(r for r in render(value_sets["workload-identity-values.yaml"]) if r["kind"] == "PodMonitor")
    if given.crds:
        monitor["spec"]["podMetricsEndpoints"][0]["intervals"] = "1s"
        checks.refuses("a monitor with an unknown field", lambda: schemas.check(monitor))

    if schemas.unchecked:
        print(f"  SKIPPED the schema of {', '.join(sorted(schemas.unchecked))}: no definitions were given")
    print(f"  manifests: {checks.passed} checks hold, {checks.failed} do not")
    return 1 if checks.failed or not checks.passed else 0


if __name__ == "__main__":
    sys.exit(main())
