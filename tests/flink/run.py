"""Drives the gateway against real clusters of each given version of Flink; run.sh builds what it needs.

Usage: run.py [--only NUMBER,...] [--write] VERSION...
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import threading
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cases import CASES, TRACES
from stage import Stage

from tools.page import replace_block

# A case that is not run any more must not go unnoticed.
COUNT = 25


class Run(threading.Thread):
    """All cases on one version, one after another."""

    def __init__(self, version: str, only: set[str]):
        super().__init__(name=version)
        self.version, self.only = version, only
        # By number: what was measured, or how it failed.
        self.passed: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.seconds = 0.0

    def say(self, text: str) -> None:
        print(f"Flink {self.version}: {text}", flush=True)

    def run(self) -> None:
        began = time.monotonic()
        built = ROOT / "target/flink" / self.version
        try:
            with Stage(built, built / "run") as stage:
                stage.start()
                self.say(f"serving after {time.monotonic() - began:.1f} s")
                for number, title, case in CASES:
                    if not self.only or number in self.only:
                        self.one(number, title, case, stage)
                self.one("log", "nothing of a stack trace but its first line is in the gateway's log", clean_log, stage)
                if self.failed:
                    self.say(f"the last words of Flink:\n{stage.cluster.last_words()}")
        except Exception:
            self.failed["start"] = traceback.format_exc()
            self.say(f"FAILED\n{self.failed['start']}")
        self.seconds = time.monotonic() - began

    def one(self, number: str, title: str, case, stage: Stage) -> None:
        began = time.monotonic()
        try:
            self.passed[number] = case(stage) or ""
            word = "ok"
        except Exception:
            self.failed[number] = traceback.format_exc()
            word = "FAILED"
        self.say(f"{word:6} {number} {title} ({time.monotonic() - began:.1f} s)")
        detail = self.failed.get(number) or self.passed.get(number)
        if detail:
            print("".join(f"         {line}\n" for line in detail.splitlines()), end="", flush=True)


def clean_log(stage: Stage) -> str:
    lines = list(stage.gateway.log)
    calls = [line for line in lines if '"method":' in line]
    assert calls, "no line of a call"
    for line in lines:
        assert not any(trace in line for trace in TRACES), line
        assert "panicked" not in line, line
    return f"{len(calls)} lines of calls"


def table(runs: list[Run], load: float) -> str:
    """For the documentation."""
    rows = [
        f"Measured {datetime.date.today()} on {os.cpu_count()} processors, load average {load:.1f} before: "
        + "; ".join(f"Flink {run.version}: {len(run.passed) - 1} passed in {run.seconds:.0f} s" for run in runs)
        + ".",
        "",
        "| # | must hold | " + " | ".join(run.version for run in runs) + " |",
        "| --- | --- |" + " --- |" * len(runs),
    ]
    for number, title, _ in sorted(CASES):
        rows.append(f"| {number} | {title} | " + " | ".join("passed" for _ in runs) + " |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--only", default="", help="numbers of cases, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the results into docs/reliability.md")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))

    numbers = [number for number, _, _ in CASES]
    assert sorted(numbers) == [f"F{n:02}" for n in range(1, COUNT + 1)], f"not the {COUNT} cases: {numbers}"
    assert only <= set(numbers), f"no such case: {only - set(numbers)}"

    load = os.getloadavg()[0]
    runs = [Run(version, only) for version in options.versions]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    # The log is one more.
    wanted = (len(only) or COUNT) + 1
    passed, failed = sum(len(run.passed) for run in runs), sum(len(run.failed) for run in runs)
    for run in runs:
        if len(run.passed) + len(run.failed) != wanted:
            failed += 1
            run.say(f"FAILED: {len(run.passed) + len(run.failed)} of {wanted} were tried")
    print(f"{passed} passed, {failed} failed")
    if failed == 0 and options.write:
        assert not only, "--write needs all cases"
        replace_block(ROOT / "docs/reliability.md", "flink", table(runs, load))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
