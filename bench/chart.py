"""Draws the goals' figures of both servers, side by side."""

from report import RPCS, UPSTREAMS, Result, figure, megabytes, micros, whole
from tools.svg import Drawing
from upstream import CALLS

WIDTH, LABELS, BAR, GAP = 860, 250, 18, 6
TEXT = "#212529"
COLOURS = {"gateway": "#0b7285", "envoy": "#a0a8b0"}
NAMES = {"gateway": "savepoint-gateway", "envoy": "Envoy reverse transcoder"}


def _per_rpc(*path: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (f"{CALLS[rpc]['title']}, {UPSTREAMS[part]} upstream", part, (rpc, *path))
        for part in ("plain", "tls")
        for rpc in RPCS
    ]


GROUPS = [
    ("Calls per second on one core (longer is better)", whole, _per_rpc("many", "calls_per_second")),
    ("Median latency of one call at a time (shorter is better)", micros, _per_rpc("single", "p50_us")),
    (
        "Memory after the run (shorter is better)",
        megabytes,
        [(f"{UPSTREAMS[part]} upstream", part, ("rss_after",)) for part in ("plain", "tls")],
    ),
]


def draw(results: Result) -> str:
    """Three groups of bars, one pair of bars per line, drawn to the scale of their group."""
    drawing, y = Drawing(), 50
    for x, who in ((20, "gateway"), (200, "envoy")):
        drawing.rect(x, 18, 12, 12, COLOURS[who])
        drawing.text(x + 18, 28, NAMES[who], fill=TEXT)
    for title, form, lines in GROUPS:
        y += 14
        drawing.text(20, y, title, size=13, fill=TEXT, weight="bold")
        y += 12
        figures = [{who: figure(results, part, who, *path) for who in COLOURS} for _, part, path in lines]
        largest = max((one.median for both in figures for one in both.values() if one.median), default=1)
        for (label, _, _), both in zip(lines, figures, strict=True):
            drawing.text(LABELS - 10, y + BAR + 5, label, fill=TEXT, anchor="end")
            for number, (who, one) in enumerate(both.items()):
                top = y + number * BAR
                length = (WIDTH - LABELS - 110) * one.median / largest if one.median else 0
                drawing.rect(LABELS, top, length, BAR - 2, COLOURS[who])
                drawing.text(LABELS + length + 6, top + BAR - 6, one.text(form).removesuffix(" ¹"), fill=TEXT)
            y += 2 * BAR + GAP
        y += 10
    label = "savepoint-gateway and Envoy: calls per second, latency, memory"
    return drawing.svg(WIDTH, y + 10, "#ffffff", label)
