"""Holds the files of deploy/compose to each other: what is mounted exists, the collector's pipelines
name components that are configured, ports and names agree."""

import json
import sys
from pathlib import Path

import yaml

COMPOSE = Path(__file__).resolve().parents[1] / "compose"


def load(name: str) -> dict:
    return yaml.safe_load((COMPOSE / name).read_text())


def collector_problems(collector: dict) -> list[str]:
    problems = []
    for name, pipeline in collector["service"]["pipelines"].items():
        for kind in ("receivers", "processors", "exporters"):
            for component in pipeline.get(kind, []):
                if component not in collector.get(kind, {}):
                    problems.append(f"collector.yaml: {name} names {component}, which is not among the {kind}")
    used = {(k, c) for p in collector["service"]["pipelines"].values() for k, cs in p.items() for c in cs}
    configured = {(k, c) for k in ("receivers", "processors", "exporters") for c in collector.get(k, {})}
    return problems + [f"collector.yaml: {component} is in no pipeline" for _, component in sorted(configured - used)]


def main() -> int:
    compose, collector = load("docker-compose.yaml"), load("collector.yaml")
    problems = collector_problems(collector)
    for name, service in compose["services"].items():
        targets = set()
        for volume in service.get("volumes", []):
            source, target, _ = volume.split(":")
            targets.add(target)
            if not (COMPOSE / source).exists():
                problems.append(f"{name} mounts {source}, which does not exist")
        for word in service.get("command", []):
            path = word.partition("=")[2]
            if path.startswith("/etc/") and path not in targets:
                problems.append(f"{name} is configured to read {path}, which is not mounted")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                problems.append(f"{name} publishes {port} to everyone")
    endpoint = compose["services"]["gateway"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    host, port = endpoint.removeprefix("http://").split(":")
    if host not in compose["services"]:
        problems.append(f"spans go to {host}, which is no service")
    if not collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(f":{port}"):
        problems.append(f"the collector does not listen on {port}")
    prometheus = load("prometheus.yaml")
    for job in prometheus["scrape_configs"]:
        for target in (t for group in job["static_configs"] for t in group["targets"]):
            if target.split(":")[0] not in compose["services"]:
                problems.append(f"prometheus.yaml scrapes {target}, which is no service")
    source = load("grafana-datasource.yaml")["datasources"][0]["url"].removeprefix("http://").split(":")[0]
    if source not in compose["services"]:
        problems.append(f"Grafana asks {source}, which is no service")

    broken = json.loads(json.dumps(collector))
    broken["service"]["pipelines"]["traces"]["exporters"] = ["otlp"]
    if not collector_problems(broken):
        problems.append("a pipeline to an exporter that is not configured was accepted")
    for problem in problems:
        print(f"  FAILED  {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
