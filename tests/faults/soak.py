#!/usr/bin/env python3
"""A soak: mixed answers at a steady rate, connections that come and go, for a given time.

Memory, file descriptors and threads must stay flat, nothing may panic, and the gateway's counts
must equal the callers' exactly. Exit code 0 when all of that holds. How flatness is computed
stands in docs/reliability.md.
"""

import argparse
import asyncio
import collections
import math
import pathlib
import random
import statistics
import sys
import time

import harness
from harness import Callers, Cloud, Gateway, Reply, launcher

# Savepoint ids and job ids choose what the provider does.
ANSWERS = {
    "ok": None,
    "bad-argument": Reply(400, b'{"error_code":"DLI.0001","error_msg":"rejected"}'),
    "html-404": Reply(404, b"<html>404</html>"),
    "throttled": Reply(429, b"{}"),
    "broken": Reply(500, b"{}"),
    "unavailable": Reply(503, b"{}"),
    "not-json": Reply(200, b"<html>"),
    "cut-short": Reply(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", then="close"),
    "reset": Reply(raw=b"", then="reset"),
    "silence": Reply(then="silence"),
    # For the crowd at the beginning alone.
    "slow": Reply(200, harness.GOT.body.replace(b'"success"', b'"is_success":true,"success"'),
                  delay=0.5),
}
NAMES = list(ANSWERS)
# Mostly good, as in life; every other answer is there all the time.
WEIGHTS = [70] + [10] * 2 + [2] * 6 + [1] + [0]
CHANNELS = 8
# As many calls as one connection may have open, and as the gateway lets through to one provider.
CROWD = 256
LATENCY = 0.02


def answer(request):
    if request.method == "POST":
        name = NAMES[int(request.path.split("/")[-2]) - 1]
    else:
        name = request.path.rsplit("/", 1)[1]
    return ANSWERS[name] or harness.good(request, delay=LATENCY)


# A slope needs some windows, and windows some samples.
WINDOWS = 100
LEAST_WINDOW = 10.0
# Twice the time after which the gateway's pool lets go of an idle connection: it looks that often.
IDLE_CLOSED = 110.0


def windows(samples, fold):
    """What a figure came to in each of some equal parts of the time, as (middle, figure)."""
    first, last = samples[0][0], samples[-1][0]
    width = max(LEAST_WINDOW, (last - first) / WINDOWS)
    parts = collections.defaultdict(list)
    for at, value in samples:
        parts[int((at - first) / width)].append(value)
    return [(first + (part + 0.5) * width, fold(values)) for part, values in sorted(parts.items())]


def slope_per_hour(points):
    """Theil-Sen, the median of the slopes between all pairs of points, in units per hour, and the
    ends of its confidence interval of 95 % (Sen 1968). A step, or a time in which the machine was
    busy with something else, hardly moves it, as it would a line of least squares."""
    pairs = sorted(
        3600 * (b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :])
    n, count = len(points), len(pairs)
    if count < 3:
        return 0.0, float("-inf"), float("inf")
    margin = 1.96 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, int((count - margin) / 2))
    high = min(count - 1, math.ceil((count + margin) / 2))
    return statistics.median(pairs), pairs[low], pairs[high]


async def soak(minutes, rate, churn_seconds=1.0, samples_file=None):
    # Silent calls end by the gateway's own clock, so that both sides see the same code.
    flags = ("--default-timeout", "2s", "--max-timeout", "2s")
    async with Cloud(answer) as cloud, Gateway(cloud.url, *flags) as gateway:
        return await load(cloud, gateway, minutes, rate, churn_seconds, samples_file)


class Mixed(Callers):
    """Draws channel, method and answer of each call, and counts by method and code."""

    def __init__(self, rate, make_channel):
        super().__init__(rate, make_channel, CHANNELS)
        self.chance = random.Random(1)
        self.seen = collections.Counter()

    async def one(self, _):
        name = self.chance.choices(NAMES, WEIGHTS)[0]
        await self.call(self.chance.choice(self.channels), name, self.chance.random() < 0.5)

    async def call(self, channel, name, is_get):
        self.in_use[channel] += 1
        try:
            # No deadline of the caller's own.
            if is_get:
                code, _, _ = await harness.get(channel, name, timeout=None)
            else:
                code, _, _ = await harness.put(channel, NAMES.index(name) + 1, timeout=None)
        finally:
            self.in_use[channel] -= 1
        self.seen["GetSavepoint" if is_get else "ImportSavepoint", code] += 1


async def load(cloud, gateway, minutes, rate, churn_seconds, samples_file):
    await gateway.metrics()
    rest_fds = gateway.sample()[2]
    churned = 0
    samples = []
    callers = Mixed(rate, gateway.channel)
    if minutes >= 1:
        # Every worker has once had as many connections to each provider as it keeps: what comes
        # later, regardless of other load, needs no more memory than this.
        for channel in callers.channels:
            for is_get in (True, False):
                await asyncio.gather(*(callers.call(channel, "slow", is_get) for _ in range(CROWD)))
    crowd = callers.seen.total()
    crowd_fds, crowd_rss = gateway.sample()[2], gateway.sample()[0]

    async def churn(tasks):
        nonlocal churned
        while True:
            await asyncio.sleep(churn_seconds)
            tasks.create_task(callers.replace(churned % CHANNELS))
            churned += 1

    async def watch():
        while True:
            samples.append((time.monotonic() - callers.began, *gateway.sample()))
            await asyncio.sleep(1)

    async with callers, asyncio.TaskGroup() as tasks:
        side = [tasks.create_task(churn(tasks)), tasks.create_task(watch())]
        await asyncio.sleep(minutes * 60)
        callers.end()
        for task in side:
            task.cancel()
    seen, took = callers.seen, callers.ended - callers.began
    assert seen.total() == crowd + callers.calls, "a call has no result"
    if minutes < 1:
        # No time to wait until idle connections to the provider are closed.
        await cloud.stop()
    ended = time.monotonic()
    while (left := gateway.sample()[2]) > rest_fds and time.monotonic() < ended + IDLE_CLOSED:
        await asyncio.sleep(0.2)
    rest_rss = gateway.sample()[0]

    handled = launcher.handled(await gateway.metrics())
    if handled != seen:
        # A call is counted when its answer is made; nothing may lag behind for long.
        await asyncio.sleep(1)
        handled = launcher.handled(await gateway.metrics())
    gateway.signal(harness.signal.SIGTERM)
    code = await gateway.ended()

    if samples_file:
        rows = ["seconds,rss_bytes,threads,fds", *(",".join(map(str, s)) for s in samples)]
        samples_file.write_text("\n".join(rows) + "\n")
    warm = [s for s in samples if s[0] >= 0.2 * took]
    mib = 1024 * 1024
    memory = windows([(t, r / mib) for t, r, _, _ in warm], statistics.median)
    figures = {
        "calls": sum(seen.values()),
        "rate": callers.achieved,
        "minutes": took / 60,
        "connections": churned + CHANNELS,
        "rss_warm": memory[0][1],
        "rss_last": memory[-1][1],
        "rss_max": max(s[1] for s in samples) / mib,
        "rss_rest": rest_rss / mib,
        "crowd": (crowd_fds, crowd_rss / mib),
        "rss_slope": slope_per_hour(memory),
        "fds": (min(s[3] for s in warm), max(s[3] for s in warm)),
        "fds_slope": slope_per_hour(windows([(t, f) for t, _, _, f in warm], min))[0],
        "fds_rest": (rest_fds, left),
        "threads": (min(s[2] for s in warm), max(s[2] for s in warm)),
        "panics": gateway.panics,
        "counts_equal": handled == seen,
        "codes": len(seen),
        "exit": code,
    }
    if handled != seen:
        print("callers:", sorted(seen.items()))
        print("gateway:", sorted(handled.items()))
    return figures


def verdict(figures):
    """What does not hold. A slope needs time to mean anything."""
    bad = []
    if not figures["counts_equal"]:
        bad.append("the gateway's counts differ from the callers'")
    if figures["panics"]:
        bad.append("a panic")
    if figures["exit"] != 0:
        bad.append(f"exit code {figures['exit']}")
    if figures["threads"][0] != figures["threads"][1]:
        bad.append("the number of threads changes")
    before, after = figures["fds_rest"]
    if after > before:
        bad.append(f"{after - before} file descriptors stay open")
    if figures["minutes"] >= 20:
        if figures["rss_slope"][0] > 1:
            bad.append(f"memory grows by {figures['rss_slope'][0]:.2f} MiB/h")
        if figures["fds_slope"] > 10:
            bad.append(f"file descriptors grow by {figures['fds_slope']:.1f}/h")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--churn", type=float, default=1.0, metavar="SECONDS",
                        help="how often a caller's connection is replaced")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    parser.add_argument("--samples", type=pathlib.Path, help="a CSV file for what was sampled")
    options = parser.parse_args()
    busy = harness.os.getloadavg()[0]
    harness.end_in_order()
    figures = asyncio.run(soak(
        options.minutes, options.rate, options.churn, options.samples))
    bad = verdict(figures)
    f = figures
    rows = [
        "| figure | measured |",
        "| --- | --- |",
        f"| duration | {f['minutes']:.1f} min |",
        f"| calls | {f['calls']:,} ({f['rate']:.0f}/s), {f['codes']} pairs of method and code |",
        f"| connections made | {f['connections']:,} |",
        f"| file descriptors and resident memory after the crowd | {f['crowd'][0]}, "
        f"{f['crowd'][1]:.1f} MiB |",
        f"| resident memory after warm-up, at the end, at most, at rest | {f['rss_warm']:.1f}, "
        f"{f['rss_last']:.1f}, {f['rss_max']:.1f}, {f['rss_rest']:.1f} MiB |",
        "| slope of resident memory, and its interval of 95 % | {:+.2f} MiB/h, {:+.2f} to {:+.2f} |"
        .format(*f["rss_slope"]),
        f"| file descriptors, least and most | {f['fds'][0]}, {f['fds'][1]} |",
        f"| slope of their minima | {f['fds_slope']:+.1f}/h |",
        f"| file descriptors at rest, before and after | {f['fds_rest'][0]}, {f['fds_rest'][1]} |",
        f"| threads, least and most | {f['threads'][0]}, {f['threads'][1]} |",
        f"| panics | {f['panics']} |",
        f"| counts of gateway and callers | {'equal' if f['counts_equal'] else 'DIFFERENT'} |",
        f"| exit code after SIGTERM | {f['exit']} |",
        f"| verdict | {'passed' if not bad else 'failed: ' + '; '.join(bad)} |",
    ]
    print("\n".join(rows))
    if options.write:
        stamp = time.strftime("%Y-%m-%d", time.gmtime())
        machine = f"{harness.os.cpu_count()} processors, Linux, load average {busy:.1f} before"
        harness.write_block("soak", [f"Measured {stamp} on {machine}.", "", *rows])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
