"""One load: h2load, what it cost the server, and the proof that every call did its work."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from machine import BenchError, Layout, Quietness, children_cpu_seconds, run
from peers import Tools
from servers import Server
from upstream import CALLS, EVERY_CALL, Upstream, compact

TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Shape:
    clients: int
    streams: int
    calls: int
    #: Whether each call's own time is wanted; writing it down costs the load generator some speed.
    times: bool = False
    #: Calls that start sooner than this after the first are left out of the percentiles.
    settle_seconds: float = 0.0
    #: Calls that all clients together begin in a second; none for as many as they can.
    per_second: float | None = None

    @property
    def in_flight(self) -> int:
        return self.clients * self.streams


def percentile(ordered: list[int], share: float) -> int:
    """Nearest rank."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _times(log: Path, settle_seconds: float) -> dict[str, float]:
    rows = [tuple(map(int, line.split("\t")[:3])) for line in log.read_text().splitlines()]
    first = min(started for started, _, _ in rows)
    taken = sorted(took for started, _, took in rows if started - first >= settle_seconds * 1e6)
    if len(taken) < 100:
        raise BenchError(f"only {len(taken)} calls to take percentiles from")
    everything = sorted(took for _, _, took in rows)
    return {
        "calls_timed": len(taken),
        "p50_us": percentile(taken, 0.50),
        "p99_us": percentile(taken, 0.99),
        "p999_us": percentile(taken, 0.999),
        "max_us": taken[-1],
        "p99_with_start_us": percentile(everything, 0.99),
    }


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if not found:
        raise BenchError(f"h2load does not print {pattern!r}: {text[-400:]}")
    return float(found.group(1))


def _require_all(figures: dict[str, float], shape: Shape, answer_bytes: int, arrived: int) -> None:
    succeeded, good, data = figures["succeeded"], figures["good"], figures["data_bytes"]
    if succeeded != shape.calls or good != shape.calls:
        raise BenchError(f"{succeeded:.0f} of {shape.calls} calls succeeded, {good:.0f} with a 2xx status")
    if arrived != shape.calls:
        raise BenchError(f"{arrived} requests reached the upstream for {shape.calls} calls")
    # A gRPC failure is an HTTP 200 as well, so only the size of the answers tells.
    if data != shape.calls * answer_bytes:
        raise BenchError(
            f"the answers hold {data:.0f} bytes, {shape.calls} right ones hold {shape.calls * answer_bytes}"
        )


class LoadGenerator:
    """h2load, with the request frames in a folder."""

    def __init__(self, tools: Tools, folder: Path):
        self._program = str(tools.h2load)
        self._folder = folder
        self._times = folder / "times.tsv"

    def through(
        self, server: Server, upstream: Upstream, name: str, shape: Shape, where: Layout, answer_bytes: int
    ) -> dict[str, object]:
        """Send one kind of call through a server."""
        call = EVERY_CALL[name]
        service, _, method = call["method"].rpartition(".")
        arguments = ["-d", str(self._folder / f"{name}.grpc")]
        arguments += ["-H", "te: trailers", "-H", "content-type: application/grpc"]
        arguments.append(f"http://127.0.0.1:{server.port}/{service}/{method}")
        result = self._measure(arguments, shape, where, upstream, server, answer_bytes)
        server.require_alive()
        server.sent[call["title"]] += shape.calls
        server.require_counted()
        return result

    def direct(self, upstream: Upstream, name: str, kind: str, shape: Shape, where: Layout) -> dict[str, object]:
        """Send the same REST call to the upstream itself, over HTTP/1.1 keep-alive."""
        rest = CALLS[name]["upstream"]
        arguments = ["--h1", "-H", "content-type: application/json"]
        if "direct_request" in rest:
            body = self._folder / f"{name}.json"
            body.write_text(compact(rest["direct_request"]))
            arguments += ["-d", str(body)]
        arguments.append(f"http://127.0.0.1:{upstream.ports[kind]}{rest['path']}")
        return self._measure(arguments, shape, where, upstream, None, len(compact(rest["body"])))

    def _run(self, arguments: list[str], shape: Shape, where: Layout) -> dict[str, float]:
        paced = [f"--rps={shape.per_second / shape.clients:.3f}"] if shape.per_second else []
        command = [self._program, *paced, "-t1", f"-n{shape.calls}", f"-c{shape.clients}", f"-m{shape.streams}"]
        if shape.times:
            self._times.unlink(missing_ok=True)
            command.append(f"--log-file={self._times}")
        done = run(command + arguments, timeout=TIMEOUT_SECONDS, cores=where.load)
        if done.returncode != 0:
            raise BenchError(f"h2load ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return {
            "calls_per_second": _number(r"finished in .*?, ([\d.]+) req/s", done.stdout),
            "succeeded": _number(r"(\d+) succeeded", done.stdout),
            "good": _number(r"status codes: (\d+) 2xx", done.stdout),
            "data_bytes": _number(r"\((\d+)\) data", done.stdout),
        }

    def _measure(
        self,
        arguments: list[str],
        shape: Shape,
        where: Layout,
        upstream: Upstream,
        server: Server | None,
        answer_bytes: int,
    ) -> dict[str, object]:
        def spent() -> tuple[float, float]:
            return server.cpu_seconds() if server else 0.0, upstream.cpu_seconds() + children_cpu_seconds()

        arrived = upstream.requests()
        quiet = Quietness([upstream, server] if server else [upstream])
        before = spent()
        figures = self._run(arguments, shape, where)
        server_cpu, load_side_cpu = (now - then for now, then in zip(spent(), before, strict=True))
        noise = quiet.report()
        _require_all(figures, shape, answer_bytes, upstream.requests() - arrived)
        seconds = shape.calls / figures["calls_per_second"]
        result: dict[str, object] = {
            "calls": shape.calls,
            "clients": shape.clients,
            "streams": shape.streams,
            "calls_per_second": round(figures["calls_per_second"], 1),
            # Cores that the upstream and the load generator filled; on one core, near 1 means that they are the limit.
            "load_side_busy": round(load_side_cpu / seconds, 3),
            "noise": noise,
        }
        if server:
            result["cpu_seconds_per_10k"] = round(server_cpu / shape.calls * 10_000, 4)
            result["server_busy"] = round(server_cpu / seconds, 3)
        if shape.times:
            result |= _times(self._times, shape.settle_seconds)
        return result
