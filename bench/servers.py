"""The two servers that are compared, each started the way a run needs it."""

import http.client
import os
import re
import time
from pathlib import Path
from string import Template

from collector import Collector
from machine import BenchError, Process, free_port
from peers import HERE
from upstream import CALLS, Upstream

# Keys as long as real ones, so that signing costs what it costs, and nobody's.
FAKE_CREDENTIALS = {
    "HUAWEICLOUD_SDK_AK": "EXAMPLEACCESSKEY0001",
    "HUAWEICLOUD_SDK_SK": "ExampleSecretKeyThatOpensNothing00000001",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "EXAMPLEACCESSKEYID000001",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "ExampleSecretThatOpensNothing1",
}


class Server(Process):
    """A gRPC server in front of the upstream."""

    #: Which of the answers in calls.json it is expected to give.
    reply: str

    def __init__(self, name: str, command: list[str], port: int, **options):
        super().__init__(name, command, **options)
        self.port = port
        #: The calls it has been sent and has to have answered well, by method.
        self.sent = {call["title"]: 0 for call in CALLS.values()}

    def require_counted(self) -> None:
        """What the server itself says about its calls has to agree with what it was sent."""

    def traced(self) -> dict[str, float]:
        """What became of its spans, if it makes any."""
        return {}


class Gateway(Server):
    reply = "gateway"

    def __init__(
        self,
        binary: Path,
        upstream: Upstream,
        kind: str,
        folder: Path,
        cores: frozenset[int],
        *,
        workers: int = 1,
        max_in_flight: int = 256,
        max_connections: int | None = None,
        log_to_null: bool = False,
        log_level: str = "info",
        collector: Collector | None = None,
        prefix: list[str] | None = None,
    ):
        self._admin_port = free_port()
        port = free_port()
        endpoint = (
            f"https://localhost:{upstream.ports[kind]}" if kind == "tls" else f"http://127.0.0.1:{upstream.ports[kind]}"
        )
        command = [
            *(prefix or []),
            str(binary),
            "serve",
            "--listen",
            f"127.0.0.1:{port}",
            "--admin-listen",
            f"127.0.0.1:{self._admin_port}",
        ]
        command += ["--huawei-endpoint", endpoint, "--huawei-project-id", CALLS["import"]["request"]["project_id"]]
        command += ["--alibaba-endpoint", endpoint, "--alibaba-workspace", CALLS["get"]["request"]["workspace"]]
        command += [
            "--workers",
            str(workers),
            "--max-in-flight",
            str(max_in_flight),
            "--log-format",
            "json",
            "--log-level",
            log_level,
        ]
        if max_connections is not None:
            command += ["--max-connections", str(max_connections)]
        self._logs_to_file = log_level == "info" and not log_to_null
        environment = FAKE_CREDENTIALS | {"SSL_CERT_FILE": str(upstream.ca)}
        self._collector = collector
        if collector is not None:
            self._collected_before = collector.spans()
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.port}"
        super().__init__(
            "gateway",
            command,
            port,
            cores=cores,
            log=Path(os.devnull) if log_to_null else folder / "gateway.log",
            environment=environment,
        )

    def _counter(self, name: str) -> list[tuple[str, int]]:
        """What its metrics say of a counter, by its labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self._admin_port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        found = re.findall(rf"^{name}_total\{{([^}}]*)\}} (\d+)", text, re.MULTILINE)
        return [(labels, int(value)) for labels, value in found]

    def _spans(self) -> dict[str, int]:
        queued, lost = 0, 0
        for labels, value in self._counter("otel_sdk_processor_span_processed"):
            if 'error_type=""' in labels:
                queued += value
            else:
                lost += value
        exported = 0
        for labels, value in self._counter("otel_sdk_exporter_span_exported"):
            if 'error_type=""' in labels:
                exported += value
            else:
                lost += value
                queued -= value
        return {"exported": exported, "lost": lost, "waiting": queued - exported}

    def traced(self) -> dict[str, float]:
        """The share of its spans that was exported; every call has to have made two."""
        if self._collector is None:
            return {}
        limit = time.monotonic() + 30
        while (spans := self._spans())["waiting"]:
            if time.monotonic() > limit:
                raise BenchError(f"spans still wait for their export: {spans}")
            time.sleep(0.1)
        made = 2 * sum(self.sent.values())
        collected = self._collector.spans() - self._collected_before
        if spans["exported"] + spans["lost"] != made or collected != spans["exported"]:
            raise BenchError(f"of {made} spans, the gateway counts {spans} and the collector {collected}")
        return {"spans_exported": collected / made}

    def _handled(self) -> dict[str, int]:
        """How many calls ended with OK."""
        handled = dict.fromkeys(self.sent, 0)
        for labels, value in self._counter("grpc_server_handled"):
            method = re.search(r'grpc_method="([^"]*)"', labels)
            if method and method[1] in handled and 'grpc_code="OK"' in labels:
                handled[method[1]] += value
        return handled

    def _logged(self) -> dict[str, int]:
        """How many calls have a line in its log."""
        logged = dict.fromkeys(self.sent, 0)
        with open(self.log, "rb") as log:
            for line in log:
                for title in logged:
                    logged[title] += title.encode() in line
        return logged

    def require_counted(self) -> None:
        # Both may be a moment behind the answer.
        limit = time.monotonic() + 5
        for what, count in (("counts", self._handled), ("logged", self._logged)):
            if what == "logged" and not self._logs_to_file:
                continue
            while (counted := count()) != self.sent:
                if time.monotonic() > limit:
                    raise BenchError(f"the gateway was sent {self.sent} and {what} {counted}")
                time.sleep(0.05)


class Envoy(Server):
    def __init__(
        self,
        binary: Path,
        contract: str,
        descriptor: Path,
        upstream: Upstream,
        kind: str,
        folder: Path,
        cores: frozenset[int],
    ):
        port = free_port()
        socket = Template((HERE / "envoy" / "tls.yaml").read_text()).substitute(ca=upstream.ca) if kind == "tls" else ""
        configuration = folder / "envoy.yaml"
        configuration.write_text(
            Template((HERE / "envoy" / "envoy.yaml").read_text()).substitute(
                listen_port=port, upstream_port=upstream.ports[kind], descriptor=descriptor, transport_socket=socket
            )
        )
        self.reply = contract
        super().__init__(
            "Envoy",
            # Hot restart would map shared memory under an id that another Envoy on the machine may hold.
            [
                str(binary),
                "-c",
                str(configuration),
                "--concurrency",
                "1",
                "--log-level",
                "warning",
                "--disable-hot-restart",
            ],
            port,
            cores=cores,
            log=folder / "envoy.log",
        )
