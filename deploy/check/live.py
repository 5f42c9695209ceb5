"""Runs every query of the dashboard, and every alert rule, by a real Prometheus that scrapes real
gateways under traffic, and holds names and log fields to docs/operations.md.

    live.py

SAVEPOINT_GATEWAY_BIN names the gateway.
"""

import math
import re
import sys
import time
from pathlib import Path

import panels
from stack import ALERTS, Stack, wait_until

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def has_data(prometheus: str, query: str) -> bool:
    values = [float(one["value"][1]) for one in panels.instant(prometheus, query)]
    return any(not math.isnan(value) for value in values)


def alert_expressions() -> dict[str, str]:
    """By name. The file is the project's own, so its layout is known."""
    text = ALERTS.read_text()
    found = {}
    for block in re.split(r"\n\s*- alert: ", text)[1:]:
        name, _, rest = block.partition("\n")
        expression = re.search(r"expr: (?:\|\n)?(.*?)\n\s+(?:for|labels):", rest, re.S)[1]
        found[name.strip()] = " ".join(expression.split())
    return found


def anchors(markdown: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", markdown, re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


def main() -> int:
    problems = []
    operations = OPERATIONS.read_text()
    queries = [
        (panel["title"], panels.expression(target["expr"], "15s"))
        for panel in panels.panels()
        for target in panel.get("targets", [])
    ]
    alerts = alert_expressions()
    if len(queries) < 20 or len(alerts) < 10:
        problems.append(f"only {len(queries)} queries and {len(alerts)} alerts were found")

    with Stack(rate=60, scrape_interval="1s") as stack:
        missing = dict(enumerate(queries))
        until = time.monotonic() + 90
        while missing and time.monotonic() < until:
            missing = {n: (title, query) for n, (title, query) in missing.items() if not has_data(stack.prometheus, query)}
            time.sleep(0.5)
        problems += [f"no data for a query of “{title}”: {query}" for title, query in missing.values()]

        # What is read must exist; `up` is Prometheus' own.
        exposition = "".join(gateway.get("/metrics")[1] for gateway in (stack.demo, stack.secure))
        exposed = set(re.findall(r"^([a-z_]+)[{ ]", exposition, re.M))
        names = set().union(*(panels.metrics_of(query) for _, query in queries))
        names |= set().union(*(panels.metrics_of(query) for query in alerts.values()))
        problems += [f"there is no metric {name}" for name in sorted(names - exposed - {"up"})]
        if "no_such_metric_total" in exposed or has_data(stack.prometheus, "no_such_metric_total"):
            problems.append("a metric that does not exist has data")
        for kind in re.findall(r"^# TYPE ([a-z_]+) ", exposition, re.M):
            if f"`{kind}" not in operations:
                problems.append(f"docs/operations.md does not speak of the metric {kind}")

        for query, least in (
            ("sum(rate(grpc_server_handled_total[15s]))", 10),
            ('sum(rate(grpc_server_handled_total{grpc_code!="OK"}[15s]))', 0.1),
            ("sum(savepoint_gateway_upstream_retries_total)", 1),
            ("sum(savepoint_gateway_upstream_shed_total)", 1),
            ("sum(savepoint_gateway_credential_refreshes_total)", 1),
        ):
            try:
                wait_until(lambda q=query, at_least=least: float(panels.instant(stack.prometheus, q)[0]["value"][1]) >= at_least, query)
            except TimeoutError as error:
                problems.append(f"the numbers do not move: {error}")

        def evaluated():
            groups = panels.ask(stack.prometheus, "rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return rules if all(rule["health"] == "ok" for rule in rules) else None

        if len(wait_until(evaluated, "all alert rules are evaluated")) != len(alerts):
            problems.append("Prometheus has other alert rules than the file")
        try:
            panels.instant(stack.prometheus, "sum by (")
            problems.append("a query that is no query was answered")
        except ValueError:
            pass

        lines = stack.log_lines()
        fields = {field for line in lines if line.get("message") == "call" for field in line}
        if len(lines) < 100 or "reason" not in fields:
            problems.append(f"the log has {len(lines)} lines with the fields {sorted(fields)}")
        problems += [f"docs/operations.md does not speak of the log field {field}" for field in sorted(fields) if f"| `{field}` |" not in operations]

    known = anchors(operations)
    for name, target in re.findall(r"- alert: (\w+).*?runbook: docs/operations\.md#(\S+)", ALERTS.read_text(), re.S):
        if target not in known or target != name.lower():
            problems.append(f"{name}: docs/operations.md has no section #{target}")
    if "no-such-section" in known:
        problems.append("a section that does not exist was found")

    for problem in problems:
        print(f"  FAILED  {problem}")
    print(f"  live: {len(queries)} queries of the dashboard, {len(alerts)} alert rules, {len(lines)} log lines, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
