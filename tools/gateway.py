"""The gateway as a process, its log lines and its metrics."""

from __future__ import annotations

import collections
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools import web
from tools.process import Process

ROOT = Path(__file__).resolve().parents[1]
SERVICE = "savepoint.v1.SavepointService"
ANY_PORT = "127.0.0.1:0"
# As long as real ones, so that signing costs what it costs. They open nothing.
EXAMPLE_CREDENTIALS = {
    "HUAWEICLOUD_SDK_AK": "EXAMPLEACCESSKEY0001",
    "HUAWEICLOUD_SDK_SK": "ExampleSecretKeyThatOpensNothing00000001",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "EXAMPLEACCESSKEYID000001",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "ExampleSecretThatOpensNothing1",
}
# `demo` prints this for people; it logs calls only.
DEMO_LINE = re.compile(r"gateway +(\S+:\d+); metrics and probes: (\S+:\d+)")


def binary(given: str | Path | None = None) -> Path:
    """The given program, else $SAVEPOINT_GATEWAY_BIN, else the release build."""
    given = given or os.environ.get("SAVEPOINT_GATEWAY_BIN") or ROOT / "target/release/savepoint-gateway"
    path = Path(given).resolve()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise SystemExit(
            f"{path} does not exist or cannot be run: build it with cargo build --release --locked, "
            "or name another program in SAVEPOINT_GATEWAY_BIN"
        )
    return path


def command_line(
    verb: str,
    *flags: str,
    program: Path | None = None,
    listen: str = ANY_PORT,
    admin_listen: str = ANY_PORT,
    prefix: Sequence[str] = (),
) -> list[str]:
    command = [*prefix, str(binary(program)), verb, "--listen", listen, "--admin-listen", admin_listen]
    return [*command, "--log-format", "json", *flags]


class Gateway(Process):
    """`serve` or `demo` with these flags. Only PATH comes from the caller's environment: a
    credential or an option that is set there must not decide a check."""

    def __init__(
        self,
        verb: str,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        program: Path | None = None,
        listen: str = ANY_PORT,
        admin_listen: str = ANY_PORT,
        prefix: Sequence[str] = (),
        **options,
    ):
        super().__init__(
            "the gateway",
            command_line(verb, *flags, program=program, listen=listen, admin_listen=admin_listen, prefix=prefix),
            environment={"PATH": os.environ.get("PATH", "")} | dict(environment or {}),
            ready=listening,
            **options,
        )

    @property
    def address(self) -> str:
        """Where it takes gRPC calls."""
        return self.found[0]

    @property
    def admin(self) -> str:
        """Where it has metrics and probes."""
        return self.found[1]

    def get(self, path: str, seconds: float = web.SECONDS) -> tuple[int, str]:
        return web.get(self.admin, path, seconds)

    def metrics(self) -> dict[str, float]:
        return series(self.get("/metrics")[1])


def listening(line: str) -> tuple[str, str] | None:
    """The two addresses, when this line of output names them."""
    if '"listening"' in line:
        entry = log_entry(line)
        if entry.get("message") == "listening":
            return entry["listen"], entry["admin_listen"]
    demo = DEMO_LINE.search(line)
    return (demo[1], demo[2]) if demo else None


def log_entry(line: str) -> dict:
    """The fields of a log line; none of other output."""
    try:
        entry = json.loads(line) if line.startswith('{"') else {}
    except ValueError:
        return {}
    return entry


def series(metrics_page: str) -> dict[str, float]:
    """The value of each series, by its name and labels as the page has them."""
    lines = (line.rpartition(" ") for line in metrics_page.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, _, value in lines}


def labelled(metrics: Mapping[str, float], name: str) -> Iterator[tuple[dict[str, str], float]]:
    """The labels and the value of each series of one metric."""
    for one, value in metrics.items():
        metric, _, labels = one.partition("{")
        if metric == name:
            yield dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), value


def handled(metrics: Mapping[str, float]) -> collections.Counter[tuple[str, str]]:
    """How many calls ended, by method and code."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for labels, value in labelled(metrics, "grpc_server_handled_total"):
        if labels["grpc_service"] == SERVICE and value:
            counts[labels["grpc_method"], labels["grpc_code"]] += int(value)
    return counts
