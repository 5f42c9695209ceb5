"""Puts the figures of the last runs, from the logs of libFuzzer, into docs/reliability.md."""

import datetime
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.gateway import ROOT
from tools.page import replace_block


def states(target):
    """What the target says of itself, up to the first colon or full stop."""
    text = (ROOT / "fuzz" / "fuzz_targets" / f"{target}.rs").read_text()
    lines = [line[3:].strip() for line in text.splitlines() if line.startswith("//!")]
    return " ".join(lines).rstrip(".").replace("|", "\\|")


def row(work, target):
    log = (work / f"{target}.log").read_text(errors="replace")
    found = re.search(r"^stat::number_of_executed_units: +(\d+)", log, re.M)
    seconds = re.search(r"^Done \d+ runs in (\d+) second", log, re.M)
    coverage = re.findall(r" cov: (\d+) ft: \d+ corp: (\d+)/", log)
    if not (found and seconds and coverage):
        return f"| `{target}` | {states(target)} | – | – | – | – | found something |"
    edges, units = coverage[-1]
    executed = f"{int(found[1]):,}"
    return (
        f"| `{target}` | {states(target)} | {seconds[1]} | {executed} | {edges} | {units} | none |"
    )


def main():
    work, targets = Path(sys.argv[1]), sys.argv[2:]
    rows = [
        f"Measured {datetime.date.today()}, Linux, one process for each target.",
        "",
        "| target | what must hold | seconds | executions | edges | inputs kept | findings |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(row(work, target) for target in targets),
    ]
    replace_block(ROOT / "docs" / "reliability.md", "fuzz", "\n".join(rows))


if __name__ == "__main__":
    main()
