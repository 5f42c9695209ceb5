"""The queries of the dashboard, and asking Prometheus for them. Standard library only."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DASHBOARD = Path(__file__).resolve().parents[1] / "grafana" / "savepoint-gateway.json"


def panels() -> list[dict]:
    """Every panel that asks something, and rows, in the order of the page."""
    return json.loads(DASHBOARD.read_text())["panels"]


def expression(query: str, rate_interval: str = "30s") -> str:
    """The query as Grafana would send it with all jobs and instances chosen."""
    text = query.replace("$__rate_interval", rate_interval).replace("$job", ".*").replace("$instance", ".*")
    if "$" in text:
        raise ValueError(f"a variable is left in {text}")
    return text


def metrics_of(query: str) -> set[str]:
    """The names of the metrics that a query reads."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}", "{}", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    names = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()\b", bare)
    keywords = {"and", "or", "unless", "bool", "offset", "le", "by", "sum", "max", "min", "count", "rate"}
    return {name for name in names if name not in keywords and not re.search(rf"\b{name}\s*\(", bare)}


def ask(prometheus: str, path: str, **parameters) -> dict | list:
    """`data` of an answer of Prometheus' HTTP API; ValueError with its words when it refuses."""
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise ValueError(error.read().decode(errors="replace")) from error


def instant(prometheus: str, query: str) -> list[dict]:
    return ask(prometheus, "query", query=query)["result"]


def ranged(prometheus: str, query: str, start: float, end: float, step: float) -> list[dict]:
    return ask(prometheus, "query_range", query=query, start=start, end=end, step=step)["result"]


def legend(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), pattern).strip()
