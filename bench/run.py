#!/usr/bin/env python3
"""Compares the gateway with Envoy's grpc_json_reverse_transcoder, side by side in one run.

    bench/run.py                 everything, into docs/performance.md and target/bench/result.json
    bench/run.py --quick         a smoke test of the comparison itself: few calls, no page
    bench/run.py --only plain    some parts

See bench/README.md for what is measured and how.
"""

import argparse
import datetime
import hashlib
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import chart
import instructions
import machine
import report
from collector import Collector
from idle import open_connections
from load import LoadGenerator, Shape
from machine import BenchError, Layout, available_cores, describe, layout, raise_file_limit, run
from peers import HERE, ROOT, Tools, build_bare, build_gateway, compile_descriptor, install, say
from servers import Bare, Envoy, Gateway, Server
from tools.gateway import binary
from upstream import ANSWER_SIZES, CALLS, EVERY_CALL, Upstream
from watchers import STREAMS, watching

Result = dict[str, object]


@dataclass(frozen=True)
class Size:
    """How much is done. Quick is only long enough to show that every part works."""

    pairs: int
    warm_up: int
    calls: int
    single: int
    single_delayed: int
    in_flight: int
    in_flight_calls: int
    settle_seconds: float
    idle: int
    starts: int
    watches: int
    watch_seconds: float


FULL = Size(
    pairs=3,
    warm_up=3000,
    calls=20_000,
    single=5000,
    single_delayed=500,
    in_flight=1000,
    in_flight_calls=20_000,
    settle_seconds=1.0,
    idle=10_000,
    starts=9,
    watches=10_000,
    watch_seconds=60.0,
)
QUICK = Size(
    pairs=1,
    warm_up=300,
    calls=1500,
    single=300,
    single_delayed=150,
    in_flight=200,
    in_flight_calls=1000,
    settle_seconds=0.5,
    idle=300,
    starts=3,
    watches=500,
    watch_seconds=2.0,
)


class Bench:
    def __init__(
        self,
        size: Size,
        tools: Tools,
        folder: Path,
        gateway: Path | None,
        envoy: bool,
        file_limit: int,
        bare: Path | None = None,
    ):
        self.size = size
        self.tools = tools
        self.folder = folder
        self.file_limit = file_limit
        self.cores = available_cores()
        self.one_core = layout(1, self.cores)
        # Not even this script takes time from the server's core.
        os.sched_setaffinity(0, self.one_core.load)
        self._gateway = gateway
        self._bare = bare
        self._load = LoadGenerator(tools, folder)
        self._descriptors = {
            "gateway": compile_descriptor(
                tools, ROOT / "proto/savepoint/v1/savepoint.proto", ROOT / "proto", folder / "savepoint.binpb"
            ),
            "envoy_envelope": compile_descriptor(
                tools, HERE / "envoy/envelope.proto", HERE / "envoy", folder / "envelope.binpb"
            ),
        }
        # Both read the same contract, and answer differently.
        self._descriptors["envoy"] = self._descriptors["gateway"]
        self._answer_bytes: dict[str, dict[str, int]] = {}
        for reply in self._descriptors:
            done = self._call("encode", reply, str(folder))
            self._answer_bytes[reply] = json.loads(done)
        #: The servers under test, in the order in which they take turns.
        self.names = [name for name, wanted in (("gateway", gateway), ("envoy", envoy)) if wanted]

    def _call(self, task: str, reply: str, where: str) -> str:
        command = [str(self.tools.python), str(HERE / "call.py"), task, str(self._descriptors[reply]), reply, where]
        done = run(
            command, timeout=60, cores=self.one_core.load, text=json.dumps(EVERY_CALL if task == "encode" else CALLS)
        )
        if done.returncode != 0:
            raise BenchError((done.stdout.strip() or done.stderr.strip())[-600:])
        return done.stdout

    def check(self, server: Server) -> None:
        """One real gRPC call of each kind, whose decoded answer has to be the expected one."""
        self._call("check", server.reply, f"127.0.0.1:{server.port}")
        for call in CALLS.values():
            server.sent[call["title"]] += 1
        server.require_counted()

    def upstream(self, where: Layout) -> Upstream:
        return Upstream(self.tools, self.folder / "nginx", where.upstream)

    def server(self, name: str, upstream: Upstream, kind: str, where: Layout, **options) -> Server:
        if name == "gateway":
            assert self._gateway is not None
            return Gateway(self._gateway, upstream, kind, self.folder, where.server, **options)
        if name == "bare":
            assert self._bare is not None
            return Bare(self._bare, upstream, kind, self.folder, where.server)
        return Envoy(self.tools.envoy, name, self._descriptors[name], upstream, kind, self.folder, where.server)

    def binary(self, name: str) -> Path:
        path = self._gateway if name == "gateway" else self.tools.envoy
        assert path is not None
        return path

    def through(self, server: Server, upstream: Upstream, name: str, shape: Shape, where: Layout) -> Result:
        return self._load.through(server, upstream, name, shape, where, self._answer_bytes[server.reply][name])

    def direct(self, upstream: Upstream, name: str, kind: str, shape: Shape) -> Result:
        return self._load.direct(upstream, name, kind, shape, self.one_core)


def attempt(title: str, measure: Callable[[], Result]) -> Result:
    """A measurement that does not hold is a failure with its reason, never a figure."""
    begun = time.monotonic()
    try:
        result = measure()
    except (BenchError, OSError, http.client.HTTPException, subprocess.SubprocessError) as problem:
        result = {"failed": str(problem) or type(problem).__name__}
    outcome = f"FAILED: {result['failed']}" if "failed" in result else "done"
    say(f"  {title}: {outcome} ({time.monotonic() - begun:.1f} s)")
    return result


def serve_load(bench: Bench, server: Server, upstream: Upstream, where: Layout, shapes: dict[str, Shape]) -> Result:
    """Start a server, load it with both RPCs in every shape, and say what it cost."""
    pace = machine.pace(where.server)
    with server:
        result: Result = {"pace_ms": pace, "rss_idle": server.settled_rss()}
        bench.check(server)
        for name in CALLS:
            widest = max(shapes.values(), key=lambda shape: shape.in_flight)
            warm_up = max(bench.size.warm_up, 2 * widest.in_flight)
            bench.through(server, upstream, name, Shape(widest.clients, widest.streams, warm_up), where)
            result[name] = {
                label: bench.through(server, upstream, name, shape, where) for label, shape in shapes.items()
            }
        bench.check(server)
        result |= server.traced()
        result["rss_after"] = server.settled_rss()
        result["rss_peak"] = server.peak_rss()
    return result


def compare(
    bench: Bench,
    kind: str,
    shapes: dict[str, Shape],
    direct_shapes: dict[str, Shape],
    *,
    extra: tuple[str, ...] = (),
    **gateway_options,
) -> Result:
    """Rounds in which the servers take turns, each freshly started on the same core."""
    pairs = []
    with bench.upstream(bench.one_core) as upstream:
        for number in range(1, bench.size.pairs + 1):
            pair: Result = {}
            if direct_shapes:
                pair["direct"] = attempt(
                    f"{kind} {number}/{bench.size.pairs} direct",
                    lambda: {
                        name: {
                            label: bench.direct(upstream, name, kind, shape) for label, shape in direct_shapes.items()
                        }
                        for name in CALLS
                    },
                )
            for name in [*bench.names, *extra]:
                options = gateway_options if name == "gateway" else {}
                pair[name] = attempt(
                    f"{kind} {number}/{bench.size.pairs} {name}",
                    lambda name=name, options=options: serve_load(
                        bench,
                        bench.server(name, upstream, kind, bench.one_core, **options),
                        upstream,
                        bench.one_core,
                        shapes,
                    ),
                )
            pairs.append(pair)
    return {"pairs": pairs, "layout": bench.one_core.describe()}


def part_plain(bench: Bench) -> Result:
    size = bench.size
    single = Shape(1, 1, size.single, times=True)
    extra = tuple(
        name for name, beside in (("bare", "gateway"), ("envoy_envelope", "envoy")) if beside in bench.names
    )
    shapes = {"many": Shape(8, 16, size.calls), "single": single}
    return compare(bench, "plain", shapes, {"many": Shape(128, 1, size.calls), "single": single}, extra=extra)


def part_tls(bench: Bench) -> Result:
    size = bench.size
    return compare(bench, "tls", {"many": Shape(8, 16, size.calls), "single": Shape(1, 1, size.single, times=True)}, {})


def part_delay5(bench: Bench) -> Result:
    size = bench.size
    single = Shape(1, 1, size.single_delayed, times=True)
    return compare(bench, "delay5", {"many": Shape(8, 16, size.calls), "single": single}, {"single": single})


def part_inflight(bench: Bench) -> Result:
    size = bench.size
    streams = 20
    many = Shape(
        size.in_flight // streams, streams, size.in_flight_calls, times=True, settle_seconds=size.settle_seconds
    )
    direct = Shape(size.in_flight, 1, size.in_flight_calls, times=True, settle_seconds=size.settle_seconds)
    return compare(bench, "delay200", {"many": many}, {"many": direct}, max_in_flight=2 * size.in_flight) | {
        "in_flight": size.in_flight
    }


def part_idle(bench: Bench) -> Result:
    count = bench.size.idle
    if bench.file_limit < count + 500:
        return {"skipped": f"the machine allows {bench.file_limit} open files, {count} connections need more"}
    result: Result = {"connections": count}

    def hold(name: str, upstream: Upstream) -> Result:
        options = {"max_connections": 2 * count} if name == "gateway" else {}
        with bench.server(name, upstream, "plain", bench.one_core, **options) as server:
            bench.check(server)
            before = server.settled_rss()
            with open_connections(server, server.port, count) as serve_connections:
                serve_connections(2.0)
                bench.check(server)
                held = server.settled_rss()
                # Whatever the server has closed in the meantime is seen here, and fails the measurement.
                serve_connections(0.2)
            return {"rss_before": before, "rss_held": held}

    with bench.upstream(bench.one_core) as upstream:
        for name in bench.names:
            result[name] = attempt(f"{count} idle connections, {name}", lambda name=name: hold(name, upstream))
    return result


def part_start(bench: Bench) -> Result:
    def start(name: str, upstream: Upstream) -> float:
        server = bench.server(name, upstream, "plain", bench.one_core)
        begun = server.launch(die_with_parent=False)
        try:
            return (server.wait_listening(server.port, pause=0.0002) - begun) * 1000
        finally:
            server.stop()

    milliseconds: dict[str, list[float]] = {name: [] for name in bench.names}
    result: Result = {name: {"binary_bytes": bench.binary(name).stat().st_size} for name in bench.names}
    with bench.upstream(bench.one_core) as upstream:
        for _ in range(bench.size.starts):
            for name in bench.names:
                milliseconds[name].append(start(name, upstream))
    for name, taken in milliseconds.items():
        result[name] |= {
            "milliseconds": [round(value, 2) for value in taken],
            "median_milliseconds": round(statistics.median(taken), 2),
        }
        say(f"  start of {name}: {statistics.median(taken):.1f} ms")
    return result


def turns(bench: Bench, variants: dict[str, tuple[Layout, dict[str, object]]]) -> Result:
    """The gateway against itself, its variants taking turns."""
    shapes = {"many": Shape(8, 16, bench.size.calls)}
    pairs = []
    for number in range(1, bench.size.pairs + 1):
        pair: Result = {}
        for label, (where, options) in variants.items():

            def measure(where=where, options=options) -> Result:
                with bench.upstream(where) as upstream:
                    return serve_load(
                        bench, bench.server("gateway", upstream, "plain", where, **options), upstream, where, shapes
                    )

            pair[label] = attempt(f"{label} {number}/{bench.size.pairs}", measure)
        pairs.append(pair)
    return {"pairs": pairs, "layouts": {label: where.describe() for label, (where, _) in variants.items()}}


def part_instructions(bench: Bench) -> Result:
    """What times cannot say on a machine that others use as well: how much work a call is."""
    perf = shutil.which("perf")
    if perf is None:
        return {"skipped": "perf is not installed"}
    if not instructions.can_count(perf):
        return {"skipped": "this machine does not let perf count instructions"}
    shape = Shape(8, 16, bench.size.calls)

    def count(name: str, upstream: Upstream) -> Result:
        with bench.server(name, upstream, "plain", bench.one_core) as server:
            result: Result = {}
            for call in CALLS:
                bench.through(server, upstream, call, Shape(8, 16, bench.size.warm_up), bench.one_core)
                with instructions.counting(perf, server) as counted:
                    bench.through(server, upstream, call, shape, bench.one_core)
                result[call] = {"instructions_per_call": round(counted[0] / shape.calls)}
        return result

    with bench.upstream(bench.one_core) as upstream:
        return {name: attempt(f"instructions, {name}", lambda name=name: count(name, upstream)) for name in bench.names}


def part_workers(bench: Bench) -> Result:
    if "gateway" not in bench.names:
        return {"skipped": "the gateway takes no part"}
    two = layout(2, bench.cores)
    return turns(bench, {"one worker": (bench.one_core, {"workers": 1}), "two workers": (two, {"workers": 2})}) | {
        "shared": two.shared
    }


def part_telemetry(bench: Bench) -> Result:
    """What it costs to be seen. The counters cannot be turned off and are in every variant."""
    if "gateway" not in bench.names:
        return {"skipped": "the gateway takes no part"}
    one = bench.one_core
    with Collector(bench.folder, one.load) as collector:
        return turns(
            bench,
            {
                "nothing": (one, {"log_level": "off"}),
                "logs to /dev/null": (one, {"log_to_null": True}),
                "logs to a file": (one, {}),
                "logs and traces": (one, {"collector": collector}),
            },
        )


def part_watch(bench: Bench) -> Result:
    """Watchers of few savepoints, beside as many callers that ask GetSavepoint every two seconds."""
    if "gateway" not in bench.names:
        return {"skipped": "the gateway takes no part"}
    count, savepoints, seconds = bench.size.watches, max(1, bench.size.watches // 100), bench.size.watch_seconds

    def cost(server: Server, upstream: Upstream, during: Callable[[], None]) -> Result:
        arrived, before, begun = upstream.requests(), server.cpu_seconds(), time.monotonic()
        during()
        taken = time.monotonic() - begun
        return {
            "seconds": round(taken, 1),
            "server_cores": round((server.cpu_seconds() - before) / taken, 4),
            "upstream_requests_per_second": round((upstream.requests() - arrived) / taken, 1),
        }

    def watch(upstream: Upstream) -> Result:
        upstream.show_state("STARTED")
        with bench.server("gateway", upstream, "plain", bench.one_core) as server:
            bench.check(server)
            idle = server.settled_rss()
            with watching(server, server.port, count, savepoints) as watchers:
                first = watchers.all_told(timeout=60)
                # Until the polls have slowed down as far as they do.
                watchers.serve(seconds)
                held, told = server.settled_rss(), watchers.messages()
                steady = cost(server, upstream, lambda: watchers.serve(seconds))
                steady["messages_per_second"] = round((watchers.messages() - told) / seconds, 1)
                upstream.show_state("COMPLETED")
                last = watchers.all_ended(timeout=60)
            return {
                "rss_idle": idle,
                "rss_held": held,
                "first_message_seconds": round(first, 2),
                "steady": steady,
                "change_to_last_seconds": round(last, 2),
            }

    def ask(upstream: Upstream) -> Result:
        with bench.server("gateway", upstream, "plain", bench.one_core) as server:
            bench.check(server)
            calls = int(count / 2 * seconds)
            shape = Shape(max(1, count // STREAMS), STREAMS, calls, per_second=count / 2)
            return cost(
                server, upstream, lambda: bench.through(server, upstream, "get", shape, bench.one_core)
            ) | {"rss_held": server.settled_rss()}

    with bench.upstream(bench.one_core) as upstream:
        return {
            "watches": count,
            "savepoints": savepoints,
            "watching": attempt("watching", lambda: watch(upstream)),
            "asking": attempt("asking every 2 s", lambda: ask(upstream)),
        }


def part_growth(bench: Bench) -> Result:
    """How the cost of a call changes with the load, the connections and the size of the answer."""
    if "gateway" not in bench.names:
        return {"skipped": "the gateway takes no part"}
    calls = bench.size.calls // 2
    points = [
        (f"{clients} × {streams}", "get", Shape(clients, streams, calls))
        for clients, streams in ((1, 1), (1, 8), (1, 64), (8, 16), (128, 1), (16, 16))
    ]
    points += [(f"8 × 16, answer of {size // 1024} KiB", f"get_{size}", Shape(8, 16, calls)) for size in ANSWER_SIZES]

    def grow(upstream: Upstream) -> Result:
        with bench.server("gateway", upstream, "plain", bench.one_core, max_in_flight=512) as server:
            bench.check(server)
            bench.through(server, upstream, "get", Shape(8, 16, bench.size.warm_up), bench.one_core)
            result = {}
            for label, name, shape in points:
                measured = bench.through(server, upstream, name, shape, bench.one_core)
                result[label] = measured | {"rss": server.settled_rss()}
            bench.check(server)
        return result

    with bench.upstream(bench.one_core) as upstream:
        return {"gateway": attempt("growth", lambda: grow(upstream))}


PARTS: dict[str, Callable[[Bench], Result]] = {
    "plain": part_plain,
    "tls": part_tls,
    "delay5": part_delay5,
    "inflight": part_inflight,
    "idle": part_idle,
    "start": part_start,
    "instructions": part_instructions,
    "workers": part_workers,
    "telemetry": part_telemetry,
    "growth": part_growth,
    "watch": part_watch,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="few calls and one pair; writes no page unless --docs is given"
    )
    parser.add_argument("--only", metavar="PART,...", help=f"some parts of: {','.join(PARTS)}")
    parser.add_argument("--pairs", type=int, help="how often the servers take turns (default 3)")
    parser.add_argument("--gateway", type=Path, metavar="PATH", help="this binary instead of building the released one")
    parser.add_argument("--servers", default="gateway,envoy", help="gateway, envoy or both (default)")
    parser.add_argument(
        "--docs", type=Path, metavar="FOLDER", help="where performance.md and performance.svg are (default docs)"
    )
    parser.add_argument("--no-docs", action="store_true", help="write only target/bench/apart.json")
    parser.add_argument(
        "--deadline",
        type=int,
        default=2700,
        metavar="SECONDS",
        help="give up, and stop everything, after this time (default 2700)",
    )
    options = parser.parse_args()
    options.parts = options.only.split(",") if options.only else list(PARTS)
    options.servers = options.servers.split(",")
    for given, known in ((options.parts, list(PARTS)), (options.servers, ["gateway", "envoy"])):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.pairs is not None and options.pairs < 1:
        parser.error("--pairs has to be at least 1")
    if options.docs is None and not options.no_docs and not options.quick:
        options.docs = ROOT / "docs"
    return options


def end_on(signum: int, _frame: object) -> None:
    # An exception, so that every server of the run is stopped on the way out.
    raise SystemExit(
        f"stopped by {signal.Signals(signum).name}" if signum != signal.SIGALRM else "stopped: the deadline has passed"
    )


def main() -> int:
    options = arguments()
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(signum, end_on)
    signal.alarm(options.deadline)
    folder = ROOT / "target" / "bench"
    work = folder / "run"
    work.mkdir(parents=True, exist_ok=True)
    size = QUICK if options.quick else FULL
    if options.pairs:
        size = Size(**(size.__dict__ | {"pairs": options.pairs}))
    try:
        tools = install(folder)
        gateway = None
        if "gateway" in options.servers:
            gateway = binary(options.gateway or build_gateway())
        if len(available_cores()) < 2:
            raise BenchError("the server needs a core of its own, and this machine has only one")
        bare = build_bare() if gateway and "plain" in options.parts else None
        bench = Bench(size, tools, work, gateway, "envoy" in options.servers, raise_file_limit(), bare)
        results: Result = {
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "quick": options.quick,
            "machine": describe(),
            "layout": bench.one_core.describe(),
            "size": size.__dict__,
            "versions": tools.versions(),
            "parts": {},
        }
        if gateway:
            results["versions"]["gateway"] = run([str(gateway), "--version"], timeout=10).stdout.strip()
            results["gateway_sha256"] = hashlib.sha256(gateway.read_bytes()).hexdigest()
        for part in options.parts:
            say(f"{part}:")
            results["parts"][part] = PARTS[part](bench)
    except BenchError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    measured = results["parts"]
    for part in measured.values():
        part |= {key: results[key] for key in ("when", "machine")}
    page, name, missing = options.docs, "quick.json" if options.quick else "result.json", []
    if options.no_docs:
        # The figures of the page stay as they are, for a later run of some parts.
        page, name = None, "apart.json"
    elif options.only and not options.quick:
        if (folder / name).is_file():
            results = report.merged(results, json.loads((folder / name).read_text()))
        if missing := [part for part in PARTS if part not in results["parts"]]:
            # They would vanish from the page.
            say(f"the comparison in {page} stays as it is: {folder / name} has no figures of {', '.join(missing)}")
            name = "apart.json"
    (folder / name).write_text(json.dumps(results, indent=1) + "\n")
    print(report.printed(results))
    say(f"raw figures: {(folder / name).relative_to(ROOT)}")
    if page:
        whole = "plain" in results["parts"] and not missing
        report.write(results, page, whole)
        if whole:
            (page / "performance.svg").write_text(chart.draw(results))
        say(f"written: what was measured, into the pages in {page}")
    failed = [found for found in report.problems(measured) if found[1] == "failed"]
    for place, _, text in failed:
        print(f"bench: failed: {place}: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
