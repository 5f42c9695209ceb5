"""Turns the raw results of a run into Markdown."""

import operator
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.page import replace_block
from upstream import CALLS

NOT_MEASURED = "not measured"
MB = 1_000_000
RPCS = list(CALLS)
# Above this share of a core, others have had a say in the times.
QUIET = 0.10
# Above this, the one core of the load generator and the upstream was full.
LOAD_SIDE_FULL, SERVER_IDLE = 0.95, 0.90

Result = dict[str, object]


@dataclass(frozen=True)
class Figure:
    """The values of one thing over all rounds, or why there is none."""

    values: tuple[float, ...] = ()
    missing: str = NOT_MEASURED
    load_limited: bool = False

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    def text(self, form: Callable[[float], str]) -> str:
        if self.median is None:
            return self.missing
        return form(self.median) + (" ¹" if self.load_limited else "")


def _dig(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def _gather(rounds: list[Result], who: str, path: tuple[str, ...]) -> Figure:
    """One failed round spoils the figure: a median over the rounds that went well would hide it."""
    if not rounds or any(who not in one for one in rounds):
        return Figure()
    if any("failed" in one[who] for one in rounds):
        return Figure(missing="failed")
    values = [_dig(one[who], path) for one in rounds]
    if any(value is None for value in values):
        return Figure()
    limited = False
    if path[-1] == "calls_per_second":
        measured = [_dig(one[who], path[:-1]) for one in rounds]
        limited = all(
            one.get("load_side_busy", 0) >= LOAD_SIDE_FULL and one.get("server_busy", 1) < SERVER_IDLE
            for one in measured
        )
    return Figure(tuple(values), load_limited=limited)


def _rounds(results: Result, part: str) -> list[Result]:
    return _dig(results, ("parts", part, "pairs")) or []


def figure(results: Result, part: str, who: str, *path: str) -> Figure:
    return _gather(_rounds(results, part), who, path)


def _combine(combine: Callable[[float, float], float], above: Figure, below: Figure) -> Figure:
    """Round by round, so that what slows the machine down for a while slows both sides down."""
    for one in (above, below):
        if not one.values:
            return Figure(missing=one.missing)
    return Figure(tuple(combine(*pair) for pair in zip(above.values, below.values, strict=True)))


def difference(above: Figure, below: Figure) -> Figure:
    return _combine(operator.sub, above, below)


def quotient(above: Figure, below: Figure) -> Figure:
    return _combine(operator.truediv, above, below)


def ratio(results: Result, part: str, path: tuple[str, ...], over: tuple[str, str] = ("gateway", "envoy")) -> Figure:
    return quotient(*(figure(results, part, who, *path) for who in over))


def single(results: Result, part: str, who: str, *path: str) -> Figure:
    """A figure of a part that has no rounds."""
    held = _dig(results, ("parts", part, who))
    if isinstance(held, dict) and "failed" in held:
        return Figure(missing="failed")
    value = _dig(held, path)
    return Figure() if value is None else Figure((value,))


def whole(value: float) -> str:
    return f"{value:,.0f}"


def two(value: float) -> str:
    return f"{value:.2f}"


def megabytes(value: float) -> str:
    return f"{value / MB:,.1f} MB"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def times(value: float) -> str:
    return f"{value:.2f} ×"


def micros(value: float) -> str:
    return f"{value:,.0f} µs"


def millis(value: float) -> str:
    return f"{value:.1f} ms"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns + "\n"


def _spread(one: Figure, form: Callable[[float], str]) -> str:
    if not one.values or len(one.values) == 1:
        return one.text(form)
    return f"{one.text(form)} ({form(min(one.values)).rstrip(' ×')} – {form(max(one.values)).rstrip(' ×')})"


UPSTREAMS = {"plain": "plain", "tls": "TLS", "delay5": "plain, answers after 5 ms"}
MEASURES = (
    ("calls/s, 128 in flight", "many", "calls_per_second", whole),
    ("CPU s per 10,000 calls", "many", "cpu_seconds_per_10k", two),
    ("p50, one call at a time", "single", "p50_us", micros),
    ("p99, one call at a time", "single", "p99_us", micros),
)
MEMORY = (("memory idle", "rss_idle"), ("memory after the run", "rss_after"), ("memory at its peak", "rss_peak"))


def _both(figures: list[Figure], text: Callable[[Figure], str]) -> str:
    """The figures of both RPCs in one cell, and once if there is none for either."""
    texts = [text(one) for one in figures]
    return texts[0] if len(set(texts)) == 1 and not figures[0].values else " / ".join(texts)


def _side_by_side(results: Result) -> str:
    both = " / ".join(CALLS[rpc]["title"] for rpc in RPCS)
    text = f"Each cell holds {both}; in parentheses, the lowest and the highest round.\n\n"
    for part, title in UPSTREAMS.items():
        text += _row(f"upstream: {title}", "gateway", "Envoy", "gateway ÷ Envoy") + _rule(4)
        for label, shape, key, form in MEASURES:
            cells = [
                _both(
                    [figure(results, part, who, rpc, shape, key) for rpc in RPCS], lambda one, form=form: one.text(form)
                )
                for who in ("gateway", "envoy")
            ]
            ratios = [ratio(results, part, (rpc, shape, key)) for rpc in RPCS]
            text += _row(label, *cells, _both(ratios, lambda one: _spread(one, times)))
        for label, key in MEMORY:
            cells = [figure(results, part, who, key).text(megabytes) for who in ("gateway", "envoy")]
            text += _row(label, *cells, _spread(ratio(results, part, (key,)), times))
        if part == "plain":
            counted = {
                who: [single(results, "instructions", who, rpc, "instructions_per_call") for rpc in RPCS]
                for who in ("gateway", "envoy")
            }
            cells = [_both(counted[who], lambda one: one.text(whole)) for who in ("gateway", "envoy")]
            ratios = [quotient(*pair) for pair in zip(*counted.values(), strict=True)]
            text += _row("instructions per call", *cells, _both(ratios, lambda one: one.text(times)))
        text += "\n"
    return text


def _added(results: Result, who: str, rpc: str) -> Figure:
    """The p99 with everything in flight, less the p99 of the upstream asked directly in the same round."""
    return difference(
        figure(results, "inflight", who, rpc, "many", "p99_us"),
        figure(results, "inflight", "direct", rpc, "many", "p99_us"),
    )


def _thousandths(one: Figure) -> Figure:
    return Figure(tuple(value / 1000 for value in one.values), missing=one.missing)


def _worst(figures: list[Figure], pick: Callable) -> Figure:
    """The one of several that is hardest to accept, so that a goal holds for each of them."""
    for one in figures:
        if not one.values:
            return one
    return pick(figures, key=lambda one: one.median)


TWO_CORES = "calls/s, two cores over one, the worse RPC"
TWO_OVER_ONE = ("two workers", "one worker")
HOLDS = {"≥": operator.ge, "≤": operator.le}


def _goals(results: Result) -> list[tuple[str, str, float, Figure, Callable[[float], str]]]:
    """Title, goal, its bound in the unit of the figure, the figure, and its form."""
    goals = [
        (
            f"calls/s, {UPSTREAMS[part]} upstream, {CALLS[rpc]['title']}",
            f"≥ {least} × Envoy",
            least,
            ratio(results, part, (rpc, "many", "calls_per_second")),
            times,
        )
        for part, least in (("plain", 3.0), ("tls", 2.5))
        for rpc in RPCS
    ]
    for rpc in RPCS:
        p50 = ratio(results, "plain", (rpc, "single", "p50_us"))
        goals.append((f"p50, one call at a time, {CALLS[rpc]['title']}", "≤ 0.5 × Envoy", 0.5, p50, times))
    for rpc in RPCS:
        path = (rpc, "many", "cpu_seconds_per_10k")
        over = ratio(results, "plain", path, ("gateway", "bare"))
        goals.append((f"CPU time of a call, {CALLS[rpc]['title']}", "≤ 1.35 × bare stack", 1.35, over, times))
    idle = single(results, "idle", "gateway", "rss_held")
    if _dig(results, ("parts", "idle", "connections")) != 10_000:
        idle = Figure(missing=idle.missing)
    added = _worst([_thousandths(_added(results, "gateway", rpc)) for rpc in RPCS], max)
    if _dig(results, ("parts", "inflight", "in_flight")) != 1000:
        added = Figure(missing=added.missing)
    binary = single(results, "start", "gateway", "binary_bytes")
    start = single(results, "start", "gateway", "median_milliseconds")
    workers = [ratio(results, "workers", (rpc, "many", "calls_per_second"), TWO_OVER_ONE) for rpc in RPCS]
    crowd = "p99 added with 1,000 calls in flight, upstream 200 ms, the worse RPC"
    return [
        *goals,
        ("memory after the run", "≤ 0.2 × Envoy", 0.2, ratio(results, "plain", ("rss_after",)), times),
        ("binary", "≤ 12 MB", 12 * MB, binary, megabytes),
        ("from exec to listening", "≤ 15 ms", 15, start, millis),
        ("memory with 10,000 idle connections", "≤ 120 MB", 120 * MB, idle, megabytes),
        (crowd, "≤ 5 ms", 5, added, millis),
        (TWO_CORES, "≥ 1.8 ×", 1.8, _worst(workers, min), times),
    ]


def _goal_table(results: Result) -> str:
    text = _row("", "goal", "measured", "") + _rule(4)
    for title, goal, bound, value, form in _goals(results):
        met = value.median is not None and HOLDS[goal[0]](value.median, bound)
        verdict = "" if value.median is None else "met" if met else "**not met**"
        if verdict and title == TWO_CORES and _dig(results, ("parts", "workers", "shared")):
            verdict = "cannot show here, see below"
        text += _row(title, goal, value.text(form), verdict)
    if _dig(results, ("parts", "workers", "shared")):
        text += (
            "\nTwo cores over one: this machine has no third core, so with two workers the upstream and the load\n"
            "generator run on the cores that the workers use, and calls/s cannot double. What it does show is the\n"
            "cost of a call, which a second worker should leave as it is: "
        )
        costs = [ratio(results, "workers", (rpc, "many", "cpu_seconds_per_10k"), TWO_OVER_ONE) for rpc in RPCS]
        text += (
            ", ".join(f"{CALLS[rpc]['title']} {cost.text(times)}" for rpc, cost in zip(RPCS, costs, strict=True))
            + " the CPU time of one.\n"
        )
    return text


def _other(results: Result) -> str:
    text = _row("", *(CALLS[rpc]["title"] for rpc in RPCS)) + _rule(1 + len(RPCS))

    def line(title: str, cells: list[Figure], form: Callable[[float], str]) -> str:
        return _row(title, *(cell.text(form) for cell in cells))

    def per_rpc(part: str, who: str, *path: str) -> list[Figure]:
        return [figure(results, part, who, rpc, *path) for rpc in RPCS]

    def delayed(who: str) -> list[Figure]:
        return per_rpc("delay5", who, "single", "p50_us")

    text += line(
        "the upstream alone over HTTP/1.1, calls/s, 128 connections",
        per_rpc("plain", "direct", "many", "calls_per_second"),
        whole,
    )
    text += line("the upstream alone, p50, one call at a time", per_rpc("plain", "direct", "single", "p50_us"), micros)
    text += line("the upstream alone, answers after 5 ms, p50", delayed("direct"), micros)
    for who, title in (("gateway", "gateway"), ("envoy", "Envoy")):
        added = [difference(*pair) for pair in zip(delayed(who), delayed("direct"), strict=True)]
        text += line(f"{title}, added to the p50 of an upstream of 5 ms", added, micros)
    count = _dig(results, ("parts", "inflight", "in_flight"))
    crowd = f"{count:,} calls in flight" if count else "many calls in flight"
    text += line(
        f"{crowd}, upstream of 200 ms, asked directly: p99",
        [_thousandths(one) for one in per_rpc("inflight", "direct", "many", "p99_us")],
        millis,
    )
    for who, title in (("gateway", "gateway"), ("envoy", "Envoy")):
        text += line(
            f"the same through {title}: p99 added", [_thousandths(_added(results, who, rpc)) for rpc in RPCS], millis
        )
    text += line(
        "Envoy with a contract that carries the whole savepoint, calls/s",
        per_rpc("plain", "envoy_envelope", "many", "calls_per_second"),
        whole,
    )
    text += line(
        "the same, CPU s per 10,000 calls", per_rpc("plain", "envoy_envelope", "many", "cpu_seconds_per_10k"), two
    )
    text += line("the bare stack, calls/s", per_rpc("plain", "bare", "many", "calls_per_second"), whole)
    text += line("the same, CPU s per 10,000 calls", per_rpc("plain", "bare", "many", "cpu_seconds_per_10k"), two)
    for label in ("one worker", "two workers"):
        text += line(f"gateway, {label}, calls/s", per_rpc("workers", label, "many", "calls_per_second"), whole)
        text += line(
            f"gateway, {label}, CPU s per 10,000 calls", per_rpc("workers", label, "many", "cpu_seconds_per_10k"), two
        )

    connections = _dig(results, ("parts", "idle", "connections"))
    held = f"{connections:,} idle connections" if connections else "idle connections"
    text += "\n" + _row("", "gateway", "Envoy") + _rule(3)
    for title, part, key, form in (
        ("binary", "start", "binary_bytes", megabytes),
        ("from exec to listening", "start", "median_milliseconds", millis),
        (f"memory before {held}", "idle", "rss_before", megabytes),
        (f"memory with {held}", "idle", "rss_held", megabytes),
    ):
        text += _row(title, *(single(results, part, who, key).text(form) for who in ("gateway", "envoy")))
    return text


def merged(new: Result, old: Result) -> Result:
    """A run of some parts, with the parts that an earlier run measured besides."""
    kept = {name: {key: old[key] for key in ("when", "machine")} | part for name, part in old["parts"].items()}
    return new | {"parts": kept | new["parts"]}


def _named(machine: Result) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}"


def _telemetry(results: Result) -> str:
    rows = [
        ("nothing", "counters alone"),
        ("logs to /dev/null", "and a log line for each call, to `/dev/null`"),
        ("logs to a file", "and a log line for each call, to a file on disk"),
        ("logs and traces", "plus two spans for each call, to an OTLP collector"),
    ]

    def both(label: str, key: str, form: Callable[[float], str]) -> str:
        return " / ".join(figure(results, "telemetry", label, rpc, "many", key).text(form) for rpc in RPCS)

    text = _row("", "calls/s", "CPU s per 10,000 calls", "÷ counters alone") + _rule(4)
    for label, title in rows:
        path = ("many", "cpu_seconds_per_10k")
        over = " / ".join(ratio(results, "telemetry", (rpc, *path), (label, "nothing")).text(times) for rpc in RPCS)
        text += _row(title, both(label, "calls_per_second", whole), both(label, "cpu_seconds_per_10k", two), over)
    exported = figure(results, "telemetry", "logs and traces", "spans_exported")
    text += f"\nSpans that reached the collector: {exported.text(percent)}. One that finds the queue full is dropped and counted.\n"
    return text


def _growth(results: Result) -> str:
    points = _dig(results, ("parts", "growth", "gateway"))
    if not isinstance(points, dict) or "failed" in points:
        return f"{'failed' if isinstance(points, dict) else NOT_MEASURED}\n"
    text = _row(
        "GetSavepoint, connections × calls at a time on each", "calls/s", "CPU s per 10,000 calls", "memory"
    ) + _rule(4)
    for label in points:
        values = (("calls_per_second", whole), ("cpu_seconds_per_10k", two), ("rss", megabytes))
        text += _row(label, *(single(results, "growth", "gateway", label, key).text(form) for key, form in values))
    return text


def _watch(results: Result) -> str:
    """Watchers beside callers that ask again and again."""
    part = _dig(results, ("parts", "watch")) or {}
    count, savepoints = part.get("watches", 0), part.get("savepoints", 0)

    def of(who: str, *path: str, form: Callable[[float], str] = two) -> str:
        return single(results, "watch", who, *path).text(form)

    text = f"Run of {part.get('when', results['when'])}: {_named(part.get('machine', results['machine']))}; "
    text += f"{results['layout']}; {results['size']['watch_seconds']:.0f} s for each column, one round.\n\n"
    text += _row(
        f"{count:,} callers, {savepoints} savepoints", "WatchSavepoint", "GetSavepoint every 2 s"
    ) + _rule(3)
    rows = [
        ("cores used by the gateway", ("steady", "server_cores"), ("server_cores",), lambda v: f"{v:.3f}"),
        (
            "requests to the provider a second",
            ("steady", "upstream_requests_per_second"),
            ("upstream_requests_per_second",),
            lambda v: f"{v:,.1f}",
        ),
        ("memory of the gateway", ("rss_held",), ("rss_held",), megabytes),
    ]
    for title, watching, asking, form in rows:
        text += _row(title, of("watching", *watching, form=form), of("asking", *asking, form=form))
    seconds = lambda value: f"{value:.2f} s"  # noqa: E731
    text += _row("memory before", of("watching", "rss_idle", form=megabytes), "")
    text += _row("first message of the last watcher", of("watching", "first_message_seconds", form=seconds), "")
    text += _row(
        "from the provider's change to the last watcher", of("watching", "change_to_last_seconds", form=seconds), ""
    )
    return text


def _every(value: object, key: str) -> list:
    if isinstance(value, dict):
        return ([value[key]] if key in value else []) + [
            found for inner in value.values() for found in _every(inner, key)
        ]
    if isinstance(value, list):
        return [found for inner in value for found in _every(inner, key)]
    return []


def _conditions(results: Result) -> str:
    machine, versions, size = results["machine"], results["versions"], results["size"]
    versions = ", ".join(
        f"{name} {version.removeprefix('savepoint-gateway ')}" for name, version in sorted(versions.items())
    )
    rounds = "one round" if size["pairs"] == 1 else f"{size['pairs']} rounds"
    text = f"Run of {results['when']}"
    text += " **in its quick form: too short for figures to rely on**" if results["quick"] else ""
    text += f": {machine['processor']}, {machine['cores']} cores, {machine['memory_mib'] / 1024:.0f} GiB, "
    text += f"Linux {machine['kernel']}; "
    text += f"{results['layout']}; {versions}; {rounds}, {size['calls']:,} calls each, medians.\n"
    earlier: dict[str, list[str]] = {}
    for name, part in results["parts"].items():
        if part.get("when", results["when"]) != results["when"]:
            earlier.setdefault(f"{part['when']}: {_named(part['machine'])}", []).append(f"`{name}`")
    for run, names in earlier.items():
        text += f"From the run of {run}: {', '.join(names)}.\n"
    noise = _every(results["parts"], "noise")
    if noise:
        others, stolen = ([one[key] for one in noise] for key in ("others", "stolen"))
        text += f"Other processes used {statistics.mean(others):.2f} cores on average (at worst {max(others):.2f}), "
        text += f"the hypervisor withheld {statistics.mean(stolen):.2f} (at worst {max(stolen):.2f})"
        pace = _every(results["parts"], "pace_ms")
        text += (
            f"; the same piece of work took from {min(pace):.0f} to {max(pace):.0f} ms as the run went on.\n"
            if pace
            else ".\n"
        )
        if statistics.mean(others) > QUIET or statistics.mean(stolen) > QUIET:
            text += "\n**The machine was not quiet: read the times and rates as an example, not as results.**\n"
    return text


def problems(value: object, where: str = "") -> list[tuple[str, str, str]]:
    """What failed or was skipped: its place in the results, which of the two, and why."""
    if isinstance(value, dict):
        found = [(where.strip(" /"), kind, value[kind]) for kind in ("failed", "skipped") if kind in value]
        return found + [one for key, inner in value.items() for one in problems(inner, f"{where} / {key}")]
    if isinstance(value, list):
        return [one for number, inner in enumerate(value, 1) for one in problems(inner, f"{where} / round {number}")]
    return []


def table(results: Result) -> str:
    text = _conditions(results) + "\n### Goals\n\n" + _goal_table(results)
    text += "\n### Side by side\n\n" + _side_by_side(results) + "### Besides\n\n" + _other(results)
    text += "\n### What being seen costs\n\n" + _telemetry(results)
    text += "\n### How the cost of a call grows\n\n" + _growth(results)
    if "¹" in text:
        text += "\n¹ The load generator and the upstream filled their core, the server did not fill its own: "
        text += "it can carry more than this.\n"
    found = problems(results["parts"])
    if found:
        text += "\n### Failed or left out\n\n"
        for place, kind, why in found:
            text += f"- {place}{' left out' if kind == 'skipped' else ''}: {why.splitlines()[0]}\n"
    return text


def _sizing(results: Result) -> str:
    """What an operator reckons with."""

    def both(key: str, form: Callable[[float], str]) -> str:
        return " / ".join(figure(results, "plain", "gateway", rpc, "many", key).text(form) for rpc in RPCS)

    def micros_for_one(seconds_for_10k: float) -> str:
        return micros(seconds_for_10k * 100)

    count = _dig(results, ("parts", "idle", "connections"))
    held = single(results, "idle", "gateway", "rss_held")
    grown = difference(held, single(results, "idle", "gateway", "rss_before"))
    each = [value / count for value in grown.values] if count else []
    when = _dig(results, ("parts", "plain", "when")) or results["when"]
    text = (
        f"From the run of {when[:10]} in [performance.md](performance.md): one core for the gateway, 128 calls in\n"
        "flight, an upstream that answers from memory; ImportSavepoint / GetSavepoint.\n\n"
    )
    text += _row("figure", "measured") + _rule(2)
    text += _row("processor time for a call", both("cpu_seconds_per_10k", micros_for_one))
    text += _row("calls/s of one worker on one core", both("calls_per_second", whole))
    text += _row("memory, idle", figure(results, "plain", "gateway", "rss_idle").text(megabytes))
    text += _row("memory after the run", figure(results, "plain", "gateway", "rss_after").text(megabytes))
    if each:
        text += _row(
            f"memory with {count:,} idle connections", f"{held.text(megabytes)}, {each[0] / 1000:.1f} kB for each"
        )
    text += _row("from exec to listening", single(results, "start", "gateway", "median_milliseconds").text(millis))
    return text


def printed(results: Result) -> str:
    """Everything, for the terminal."""
    return table(results) + ("\n### Watchers\n\n" + _watch(results) if "watch" in results["parts"] else "")


def write(results: Result, docs: Path, whole: bool) -> None:
    """Replace what stands between the markers of the pages: the comparison, if there is a whole one, and watches."""
    parts = results["parts"]
    if whole:
        picture = "![The gateway beside Envoy](performance.svg)"
        replace_block(docs / "performance.md", "bench", f"\n{picture}\n\n{table(results)}")
        replace_block(docs / "operations.md", "bench", f"\n{_sizing(results)}")
    if "watch" in parts:
        replace_block(docs / "performance.md", "watch", f"\n{_watch(results)}")
