"""Draws the dashboard as SVG from what a Prometheus really holds. Standard library only.

    draw.py PROMETHEUS MINUTES FILE
"""

import datetime
import math
import sys
import time
from pathlib import Path

import panels

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.svg import Drawing

WIDTH, COLUMN, UNIT, GAP = 1440, 60, 30, 8
HEAD = 64
COLOURS = ["#3274d9", "#e8590c", "#7048e8", "#0c8599", "#c2255c", "#f08c00", "#868e96", "#5c940d", "#a61e4d", "#1864ab", "#d6336c", "#66a80f"]
GOOD, WARN, BAD = "#2b8a3e", "#d9730d", "#c92a2a"
# Codes and outcomes keep their colours in every panel.
FIXED = {"OK": GOOD, "success": GOOD}
LEGEND_LINES = 2
# Of a stack; what is smaller is drawn as one.
MOST = 12


def short(value: float) -> str:
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (limit if letter != 'k' else 1e3):.3g}{letter}"
    return f"{value:.3g}"


def duration(value: float) -> str:
    size = abs(value)
    for limit, unit, digits in ((86400, "d", 5), (3600, "h", 4), (60, "min", 4), (1, "s", 3), (1e-3, "ms", 3)):
        if size >= limit:
            return f"{value / limit:.{digits}g} {unit}"
    return "0 s" if size < 1e-9 else f"{value * 1e6:.3g} µs"


def shown(value: float, unit: str) -> str:
    if math.isnan(value):
        return "–"
    if unit == "s":
        return duration(value)
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    return short(value) + {"reqps": "/s", "cps": "/s", "bytes": "B"}.get(unit, "")


def ticks(low: float, high: float, unit: str) -> list[float]:
    """Three to six round numbers that cover the values."""
    if unit == "s":
        for size in (86400, 3600, 60):
            if high - low >= 2 * size:
                return [mark * size for mark in ticks(low / size, high / size, "")]
    span = high - low or 1
    step = 10 ** math.floor(math.log10(span / 4))
    for factor in (1, 2, 2.5, 5, 10):
        if span / (step * factor) <= 5:
            step *= factor
            break
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def frame(page, panel, left, top, width, height):
    page.rect(left, top, width, height, "#ffffff", "#dee2e6", 4)
    page.text(left + 12, top + 20, panel["title"], 13, "#212529", weight="600")


def stat(page, panel, prometheus, box):
    left, top, width, height = box
    frame(page, panel, *box)
    target, defaults = panel["targets"][0], panel["fieldConfig"]["defaults"]
    found = panels.instant(prometheus, panels.expression(target["expr"]))
    colour, value = "#868e96", "–"
    if found:
        number = float(found[0]["value"][1])
        names = {None: GOOD, "green": GOOD, "orange": WARN, "red": BAD}
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is None or number >= step["value"]:
                colour = names[step["color"]]
        value = shown(number, defaults["unit"])
        if target["legendFormat"]:
            value = panels.legend(target["legendFormat"], found[0]["metric"])
            value += f" × {number:.0f}"
    page.text(left + width / 2, top + height / 2 + 26, value, 34, colour, "middle", "600")


def series_of(panel, prometheus, start, end, step):
    """(name, {time: value}) of everything that the panel's queries return."""
    found = []
    for target in panel["targets"]:
        for one in panels.ranged(prometheus, panels.expression(target["expr"]), start, end, step):
            points = {float(t): float(v) for t, v in one["values"] if not math.isnan(float(v)) and not math.isinf(float(v))}
            if points:
                found.append((panels.legend(target["legendFormat"], one["metric"]) or "value", points))
    return found


def chart(page, panel, prometheus, box, start, end, step):
    left, top, width, height = box
    frame(page, panel, *box)
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    series = series_of(panel, prometheus, start, end, step)
    if not series:
        page.text(left + width / 2, top + height / 2, "no data", 13, "#adb5bd", "middle")
        return
    # The largest first: it is the base of a stack, and what a legend must name.
    series.sort(key=lambda one: -sum(one[1].values()))
    times = [start + n * step for n in range(int((end - start) / step) + 1)]
    if stacked and len(series) > MOST:
        rest = [points for _, points in series[MOST - 1 :]]
        series[MOST - 1 :] = [(f"{len(rest)} others", {t: sum(points.get(t, 0.0) for points in rest) for t in times})]
    if stacked:
        base, drawn = dict.fromkeys(times, 0.0), []
        for name, points in series:
            upper = {t: base[t] + points.get(t, 0.0) for t in times}
            drawn.append((name, upper, dict(base)))
            base = upper
        values = [v for _, upper, _ in drawn for v in upper.values()]
    else:
        drawn = [(name, points, None) for name, points in series]
        values = [v for _, points, _ in drawn for v in points.values()]
    low, high = min(values), max(values)
    if "min" in defaults:
        low = min(low, defaults["min"])
    if high - low < 1e-12:
        high = low + 1
    marks = ticks(low, high, defaults["unit"])
    low, high = marks[0], marks[-1]
    x0, x1, y0, y1 = left + 66, left + width - 14, top + 34, top + height - 30 - 17 * LEGEND_LINES

    def x(t):
        return x0 + (t - start) / (end - start) * (x1 - x0)

    def y(v):
        return y1 - (v - low) / (high - low) * (y1 - y0)

    for mark in marks:
        page.line(x0, y(mark), x1, y(mark), "#e9ecef")
        page.text(x0 - 6, y(mark) + 4, shown(mark, defaults["unit"]), 11, "#868e96", "end")
    parts = 4 if width > 400 else 2
    for n in range(parts + 1):
        t = start + (end - start) * n / parts
        anchor = "start" if n == 0 else "end" if n == parts else "middle"
        page.text(x(t), y1 + 16, datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%H:%M:%S"), 11, "#868e96", anchor)
    legend_x, legend_y, hidden = x0 - 52, y1 + 36, 0
    for n, (name, points, lower) in enumerate(drawn):
        colour = FIXED.get(name, COLOURS[n % len(COLOURS)])
        runs, last = [[]], None
        for t in times:
            if t in points:
                if last is not None and t - last > 1.5 * step:
                    runs.append([])
                runs[-1].append(t)
                last = t
        for run in runs:
            if not run:
                continue
            line = "M" + "L".join(f"{x(t):.0f} {y(points[t]):.1f}" for t in run)
            floor = [(t, lower[t] if lower else max(low, min(high, 0.0))) for t in reversed(run)]
            area = line + "L" + "L".join(f"{x(t):.0f} {y(v):.1f}" for t, v in floor) + "Z"
            page.path(area, fill=colour, opacity=0.55 if stacked else 0.07)
            page.path(line, stroke=colour, width=0.8 if stacked else 1.6)
            if len(run) == 1:
                page.rect(x(run[0]) - 2, y(points[run[0]]) - 2, 4, 4, colour)
        label = name if len(name) <= 52 else name[:51] + "…"
        room = 24 + sum(7.9 if letter.isupper() else 6.4 for letter in label)
        if legend_x + room > left + width - 60 and legend_x > x0:
            if legend_y > y1 + 36 + 17 * (LEGEND_LINES - 2):
                hidden += 1
                continue
            legend_x, legend_y = x0 - 52, legend_y + 17
        if hidden:
            hidden += 1
            continue
        page.rect(legend_x, legend_y - 8, 12, 4, colour)
        page.text(legend_x + 17, legend_y, label, 11)
        legend_x += room
    if hidden:
        page.text(left + width - 12, legend_y, f"+ {hidden}", 11, "#868e96", "end")


def draw(prometheus: str, minutes: float, end: float | None = None) -> str:
    """The dashboard of the last minutes, as SVG."""
    # Prometheus answers at start + n × step; whole seconds keep its times and ours the same.
    step = max(1, round(minutes * 60 / 120))
    end = math.floor((time.time() if end is None else end) / step) * step
    start = end - math.ceil(minutes * 60 / step) * step
    page = Drawing()
    bottom = 0
    for panel in panels.panels():
        place = panel["gridPos"]
        box = (place["x"] * COLUMN + GAP / 2, HEAD + place["y"] * UNIT + GAP / 2, place["w"] * COLUMN - GAP, place["h"] * UNIT - GAP)
        bottom = max(bottom, HEAD + (place["y"] + place["h"]) * UNIT)
        if panel["type"] == "row":
            page.text(box[0] + 6, box[1] + 17, panel["title"], 15, "#212529", weight="600")
        elif panel["type"] == "stat":
            stat(page, panel, prometheus, box)
        else:
            chart(page, panel, prometheus, box, start, end, step)
    moment = datetime.datetime.fromtimestamp(end, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    page.text(14, 40, "savepoint-gateway", 24, "#212529", weight="600")
    page.text(WIDTH - 14, 38, f"simulators and made-up traffic, the last {minutes:.3g} minutes, {moment}", 13, "#868e96", "end")
    return page.svg(WIDTH, bottom + 12, "#f4f5f7", "The dashboard of savepoint-gateway")


if __name__ == "__main__":
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        file.write(draw(sys.argv[1], float(sys.argv[2])))
