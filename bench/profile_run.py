"""Loads a gateway that has symbols under a profiler and prints the functions that take most; see profile.sh."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import Shape
from machine import BenchError, Layout, Process, clean_environment, raise_file_limit, run
from peers import ROOT, install, say
from run import FULL, Bench, end_on
from servers import Gateway
from upstream import CALLS

WIDTH = 150


def _records(perf: str | None, scratch: Path) -> bool:
    if perf is None:
        say("perf is not installed: using callgrind")
        return False
    done = run([perf, "record", "-q", "-o", str(scratch), "true"], timeout=20)
    scratch.unlink(missing_ok=True)
    if done.returncode != 0:
        say(f"perf cannot record here ({done.stderr.strip()[:200]}): using callgrind")
    return done.returncode == 0


@contextlib.contextmanager
def _recording(perf: str, server: Process, out: Path):
    recorder = subprocess.Popen(
        [perf, "record", "-q", "-F", "1999", "-o", str(out), "-p", str(server.pid)],
        stdin=subprocess.DEVNULL,
        env=clean_environment(),
    )
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        try:
            recorder.wait(timeout=60)
        except subprocess.TimeoutExpired:
            recorder.kill()
            recorder.wait()


def _print(command: list[str]) -> None:
    done = run(command, timeout=300)
    if done.returncode != 0:
        raise BenchError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    for line in done.stdout.splitlines():
        if line.strip() and not line.startswith("#"):
            # Columns are as wide as the longest generic name; a name's beginning is enough.
            print(re.sub(r"(?<=\S) {2,}", "  ", line.rstrip())[:WIDTH])


def with_perf(perf: str, bench: Bench, binary: Path, rpc: str, where: Layout, out: Path) -> None:
    data = out / "perf.data"
    with bench.upstream(where) as upstream, Gateway(binary, upstream, "plain", bench.folder, where.server) as server:
        bench.check(server)
        bench.through(server, upstream, rpc, Shape(8, 16, 5000), where)
        with _recording(perf, server, data):
            loaded = bench.through(server, upstream, rpc, Shape(8, 16, 100_000), where)
    print(f"{rpc}: {loaded['calls_per_second']:,.0f} calls/s, {loaded['cpu_seconds_per_10k']} CPU s per 10,000 calls\n")
    report = [perf, "report", "-i", str(data), "--stdio", "--no-children", "-q"]
    print("share by binary")
    _print([*report, "--fields", "overhead,dso", "--percent-limit", "0.5"])
    print("\nshare by function")
    _print([*report, "--fields", "overhead,dso,symbol", "--percent-limit", "0.3"])


def with_callgrind(bench: Bench, binary: Path, rpc: str, where: Layout, out: Path) -> None:
    valgrind, annotate = shutil.which("valgrind"), shutil.which("callgrind_annotate")
    if valgrind is None or annotate is None:
        raise BenchError("neither perf nor valgrind is to be had")
    data = out / "callgrind.out"
    prefix = [valgrind, "--tool=callgrind", f"--callgrind-out-file={data}", "--quiet"]
    with (
        bench.upstream(where) as upstream,
        Gateway(binary, upstream, "plain", bench.folder, where.server, prefix=prefix) as server,
    ):
        # Under valgrind a call takes about fifty times as long.
        bench.through(server, upstream, rpc, Shape(4, 4, 5000), where)
    _print([annotate, "--auto=no", "--threshold=90", str(data)])


def main() -> int:
    binary, rpc, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    if rpc not in CALLS:
        raise SystemExit(f"unknown RPC {rpc}; there are {', '.join(CALLS)}")
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(signum, end_on)
    signal.alarm(600)
    perf = shutil.which("perf")
    try:
        tools = install(ROOT / "target" / "bench")
        limit = raise_file_limit()
        work = out / "run"
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(FULL, tools, work, binary, envoy=False, file_limit=limit)
        if _records(perf, out / f"probe.{os.getpid()}"):
            with_perf(perf, bench, binary, rpc, bench.one_core, out)
        else:
            with_callgrind(bench, binary, rpc, bench.one_core, out)
    except BenchError as problem:
        print(f"profile: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
