"""The servers that are compared, each started the way a run needs it."""

import os
import time
from pathlib import Path
from string import Template

from collector import Collector
from machine import BenchError, Process
from peers import HERE
from tools import web
from tools.gateway import EXAMPLE_CREDENTIALS, command_line, handled, labelled, series
from tools.process import free_port
from upstream import CALLS, Upstream


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
        port, admin_port = free_port(), free_port()
        self._admin = f"127.0.0.1:{admin_port}"
        endpoint = (
            f"https://localhost:{upstream.ports[kind]}" if kind == "tls" else f"http://127.0.0.1:{upstream.ports[kind]}"
        )
        flags = ["--huawei-endpoint", endpoint, "--huawei-project-id", CALLS["import"]["request"]["project_id"]]
        flags += ["--alibaba-endpoint", endpoint, "--alibaba-workspace", CALLS["get"]["request"]["workspace"]]
        flags += ["--workers", str(workers), "--max-in-flight", str(max_in_flight), "--log-level", log_level]
        if max_connections is not None:
            # Idle connections of a benchmark make no call.
            flags += ["--max-connections", str(max_connections), "--peer-timeout", "1h"]
        self._logs_to_file = log_level == "info" and not log_to_null
        environment = EXAMPLE_CREDENTIALS | {"SSL_CERT_FILE": str(upstream.ca)}
        self._collector = collector
        if collector is not None:
            self._collected_before = collector.spans()
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.port}"
        super().__init__(
            "gateway",
            # Ports of its own choice would have to be read from a log that some runs do not have.
            command_line(
                "serve",
                *flags,
                program=binary,
                listen=f"127.0.0.1:{port}",
                admin_listen=self._admin,
                prefix=prefix or [],
            ),
            port,
            cores=cores,
            log=Path(os.devnull) if log_to_null else folder / "gateway.log",
            environment=environment,
        )

    def _metrics(self) -> dict[str, float]:
        return series(web.get(self._admin, "/metrics")[1])

    def _spans(self) -> dict[str, int]:
        def counted(name: str) -> tuple[int, int]:
            """How many went well, and how many did not."""
            found = list(labelled(metrics, name))
            well = sum(value for labels, value in found if labels["error_type"] == "")
            return int(well), int(sum(value for _, value in found) - well)

        metrics = self._metrics()
        queued, dropped = counted("otel_sdk_processor_span_processed_total")
        exported, failed = counted("otel_sdk_exporter_span_exported_total")
        return {"exported": exported, "lost": dropped + failed, "waiting": queued - failed - exported}

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
        counts = handled(self._metrics())
        return {title: counts[title, "OK"] for title in self.sent}

    def _logged(self) -> dict[str, int]:
        """How many calls have a line in its log."""
        logged = dict.fromkeys(self.sent, 0)
        with open(self.log_file, "rb") as log:
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


class Bare(Server):
    """The libraries of the gateway's path of a call, with nothing of the gateway."""

    reply = "gateway"

    def __init__(self, binary: Path, upstream: Upstream, kind: str, folder: Path, cores: frozenset[int]):
        port = free_port()
        super().__init__(
            "the bare stack",
            [str(binary), f"127.0.0.1:{port}", f"127.0.0.1:{upstream.ports[kind]}"],
            port,
            cores=cores,
            log=folder / "bare.log",
        )


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
            [str(binary), "-c", str(configuration), *"--concurrency 1 --log-level warning --disable-hot-restart".split()],
            port,
            cores=cores,
            log=folder / "envoy.log",
        )
