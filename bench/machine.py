"""The machine a run happens on: its cores, the processes started on them, and what those cost."""

import contextlib
import ctypes
import hashlib
import os
import platform
import random
import resource
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tools import process as base

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
TICK = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


class BenchError(Exception):
    """Why a part of the run has no figure."""


@dataclass(frozen=True)
class Layout:
    """Which cores the server under test has, and which are left to the upstream and the load."""

    server: frozenset[int]
    upstream: frozenset[int]
    load: frozenset[int]
    shared: bool

    def describe(self) -> str:
        text = f"server on {_cores(self.server)}, upstream on {_cores(self.upstream)}, load on {_cores(self.load)}"
        return text + (" (shared with the server)" if self.shared else "")


def _cores(cores: frozenset[int]) -> str:
    return ("core " if len(cores) == 1 else "cores ") + ", ".join(str(core) for core in sorted(cores))


def available_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def layout(server_cores: int, cores: list[int]) -> Layout:
    """Give the server the first cores; with none left over, upstream and load share all of them."""
    if len(cores) < server_cores:
        raise BenchError(f"needs {server_cores} cores, this machine has {len(cores)}")
    rest = cores[server_cores:]
    if not rest:
        everything = frozenset(cores)
        return Layout(everything, everything, everything, shared=True)
    return Layout(frozenset(cores[:server_cores]), frozenset(rest[:1]), frozenset(rest[-1:]), shared=False)


def raise_file_limit() -> int:
    """Raise the limit of open files to what the machine allows, since 10,000 connections need as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, wanted), max(hard, wanted)))
        return max(hard, wanted)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """An environment without proxies, credentials or settings of the shell that started the run."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | (extra or {})


def _die_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def pinned(cores: frozenset[int]):
    """What is started inside inherits these cores, from its first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(
    command: list[str],
    *,
    timeout: float,
    cores: frozenset[int] | None = None,
    text: str = "",
    folder: Path | None = None,
) -> subprocess.CompletedProcess:
    """Run a command to its end; it is killed at the timeout and dies with this process."""
    with pinned(cores or frozenset(os.sched_getaffinity(0))):
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=clean_environment(),
            preexec_fn=_die_with_parent,
        )
    with child:
        try:
            stdout, stderr = child.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{Path(command[0]).name} did not end within {timeout:.0f} s") from None
        finally:
            if child.poll() is None:
                child.kill()
    return subprocess.CompletedProcess(command, child.returncode, stdout, stderr)


class Process(base.Process):
    """A server started for a measurement, on its cores, with its output in a file."""

    #: The port that has to accept connections before the block begins.
    port: int

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        cores: frozenset[int],
        log: Path,
        environment: dict[str, str] | None = None,
    ):
        super().__init__(name, command, environment=clean_environment(environment), log_file=log)
        self._cores = cores

    def launch(self, *, die_with_parent: bool = True) -> float:
        with pinned(self._cores):
            # A fork handler costs a millisecond, which the measurement of the start must not contain.
            return super().launch(preexec_fn=_die_with_parent if die_with_parent else None)

    def wait_ready(self, seconds: float = base.START_SECONDS) -> None:
        self.wait_listening(self.port, timeout=seconds)

    def require_alive(self) -> None:
        if not self.running:
            raise BenchError(f"{self.name} ended with {self.exit_code}: {self.last_words()}")

    def wait_listening(self, port: int, *, timeout: float = 30, pause: float = 0.01) -> float:
        """Wait until the port accepts a connection and return the instant at which it did."""
        limit = time.monotonic() + timeout
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return time.monotonic()
            self.require_alive()
            if time.monotonic() > limit:
                raise BenchError(f"{self.name} does not listen on {port} after {timeout:.0f} s: {self.last_words()}")
            time.sleep(pause)

    def peak_rss(self) -> int:
        return self.status("VmHWM") * 1024

    def settled_rss(self, *, timeout: float = 5) -> int:
        """The resident memory once it has stood still (within 1 %) for half a second."""
        limit = time.monotonic() + timeout
        samples = [self.rss()]
        while time.monotonic() < limit:
            time.sleep(0.1)
            self.require_alive()
            samples.append(self.rss())
            recent = samples[-6:]
            if len(recent) == 6 and max(recent) - min(recent) <= 0.01 * max(recent):
                break
        return samples[-1]


def _busy_and_steal() -> tuple[float, float]:
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq) / TICK, steal / TICK


class Quietness:
    """How much of the machine somebody else used while a measurement ran."""

    def __init__(self, processes: list[Process]):
        self._processes = processes
        self._start = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        busy, steal = _busy_and_steal()
        mine = sum(process.cpu_seconds() for process in self._processes) + time.process_time()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.monotonic(), busy, steal, mine + children.ru_utime + children.ru_stime

    def report(self) -> dict[str, float]:
        """Cores that others, and the hypervisor's other guests, kept busy on average."""
        wall, busy, steal, mine = (now - then for now, then in zip(self._now(), self._start, strict=True))
        return {"others": round(max(0.0, busy - mine) / wall, 3), "stolen": round(steal / wall, 3)}


def children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def pace(cores: frozenset[int]) -> float:
    """Milliseconds that a fixed piece of work takes, best of three: arithmetic, then memory in no order.

    Other guests of a virtual machine's host slow it down without showing up anywhere else.
    """
    block = bytes(4 * MIB)
    numbers = random.Random(1).sample(range(10_000_000), 200_000)
    best = float("inf")
    with pinned(cores):
        for _ in range(3):
            begun = time.perf_counter()
            hashlib.sha256(block).digest()
            sorted(numbers)
            best = min(best, time.perf_counter() - begun)
    return round(best * 1000, 2)


def describe() -> dict[str, object]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB,
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
