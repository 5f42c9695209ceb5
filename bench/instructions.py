"""Counts the instructions that a server executes, with perf."""

import contextlib
import os
import re
import select
import signal
import subprocess

from machine import BenchError, Process, clean_environment, run

FORMAT = ["-x", ",", "-e", "instructions"]


def can_count(perf: str) -> bool:
    done = run([perf, "stat", *FORMAT, "true"], timeout=20)
    return done.returncode == 0 and _parse(done.stderr) is not None


def _parse(text: str) -> int | None:
    found = re.search(r"^(\d+),[^,]*,instructions", text, re.MULTILINE)
    return int(found[1]) if found else None


class _Counter:
    """perf, attached to a server and switched on and off on command."""

    def __init__(self, perf: str, pid: int):
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._child = subprocess.Popen(
            [perf, "stat", *FORMAT, "--delay=-1", f"--control=fd:{commands},{answers}", "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
            pass_fds=(commands, answers),
        )
        os.close(commands)
        os.close(answers)

    def tell(self, command: str) -> None:
        os.write(self._commands, f"{command}\n".encode())
        if not select.select([self._answers], [], [], 20)[0] or not os.read(self._answers, 16).startswith(b"ack"):
            raise BenchError(f"perf does not answer to {command}")

    def end(self) -> int:
        self._child.send_signal(signal.SIGINT)
        text = self._child.communicate(timeout=20)[1]
        counted = _parse(text)
        if counted is None:
            raise BenchError(f"perf counted nothing: {text.strip()[-300:]}")
        return counted

    def close(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._child.stderr.close()
        os.close(self._commands)
        os.close(self._answers)


@contextlib.contextmanager
def counting(perf: str, server: Process):
    """Count what all threads of a server execute inside the block, the kernel's work for them included."""
    counted: list[int] = []
    counter = _Counter(perf, server.pid)
    try:
        counter.tell("enable")
        yield counted
        counter.tell("disable")
        counted.append(counter.end())
    finally:
        counter.close()
