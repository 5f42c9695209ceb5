"""A program that runs while others use it: started, waited for, ended, and its output kept."""

from __future__ import annotations

import collections
import contextlib
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_SECONDS = 30
# Longer than the drain timeouts that the gateways are started with.
STOP_SECONDS = 20
# A soak of hours must not fill the memory.
KEPT_LINES = 10_000


class ProcessError(Exception):
    """A program ended, or was not ready in time. The text ends with its last lines of output."""


class Process:
    """Runs between start() and stop(), or inside a `with`.

    `log` keeps the last lines of both output streams, unless they go to `log_file`. The first line
    for which `ready` returns something says that the program is ready; `found` is what it returned.
    `on_line` gets every line, in the thread that reads them.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path | None = None,
        log_file: Path | None = None,
        kept_lines: int | None = KEPT_LINES,
        on_line: Callable[[str], object] = lambda _: None,
        ready: Callable[[str], object] = bool,
    ):
        self.name = name
        self.log: collections.deque[str] = collections.deque(maxlen=kept_lines)
        self.log_file = log_file
        self.found: object = None
        self._command, self._environment, self._folder = command, environment, folder
        self._on_line, self._ready = on_line, ready
        self._child: subprocess.Popen | None = None
        self._reader: threading.Thread | None = None
        self._reading = True
        self._ready_or_ended = threading.Event()

    def launch(self, **options) -> float:
        """Starts it without waiting, and returns the instant just before."""
        with contextlib.ExitStack() as files:
            output = files.enter_context(open(self.log_file, "wb")) if self.log_file else subprocess.PIPE
            began = time.monotonic()
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                # Ctrl-C in a terminal must reach this process alone, which ends the others in order.
                process_group=0,
                **options,
            )
        if not self.log_file:
            self._reader = threading.Thread(target=self._read, args=[self._child.stdout], daemon=True)
            self._reader.start()
        return began

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Returns once it is ready; ProcessError when it ended before, or when the time is over."""
        if not self._ready_or_ended.wait(seconds):
            raise ProcessError(f"{self.name} was not ready within {seconds:.0f} s: {self.last_words()}")
        if not self.found:
            raise ProcessError(f"{self.name} ended before it was ready: {self.last_words()}")

    def start(self) -> None:
        try:
            self.launch()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._child and self._child.returncode

    def signal(self, number: int) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code, once it has ended and all of its output is read."""
        assert self._child is not None
        code = self._child.wait(seconds)
        if self._reader:
            self._reader.join(STOP_SECONDS)
        if not self._reading:
            self._child.stdout.close()
        return code

    def stop(self, seconds: float = STOP_SECONDS) -> int | None:
        """Ends it in order, and kills it when that takes too long. Returns its exit code."""
        if self._child is None:
            return None
        if self.running:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self.wait()

    def stop_reading(self):
        """Lets the output fill its pipe, and returns the pipe's reading end. The reader ends with
        the next line."""
        self._reading = False
        return self._child.stdout

    def last_words(self) -> str:
        if self.log_file is None:
            lines = list(self.log)
        else:
            lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.is_file() else []
        return "\n".join(lines[-20:]).strip() or "(no output)"

    def status(self, field: str) -> int:
        """A number from /proc/PID/status."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise ProcessError(f"/proc/{self.pid}/status has no {field}")

    def rss(self) -> int:
        """Resident memory in bytes."""
        return self.status("VmRSS") * 1024

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, ended ones included, in nanosecond steps."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def _read(self, stream) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\r\n")
            self.log.append(line)
            self._on_line(line)
            if not self.found:
                self.found = self._ready(line)
                if self.found:
                    self._ready_or_ended.set()
            if not self._reading:
                return
        stream.close()
        self._ready_or_ended.set()


_given_ports: set[int] = set()


def free_port() -> int:
    """A port where nothing listens and that this run has not given to another program.

    It is below the ports that the system gives to whoever asks for any, so that nobody gets it by chance before the
    program that it is for has bound it.
    """
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _given_ports:
                probe.bind(("127.0.0.1", port))
                _given_ports.add(port)
                return port
