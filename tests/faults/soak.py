#!/usr/bin/env python3
"""A soak: mixed answers at a steady rate, connections that come and go, for as long as told.

Memory, file descriptors and threads must stay flat, nothing may panic, and the gateway's counts
must equal the callers' exactly. Exit code 0 when all of that holds.
"""

import argparse
import asyncio
import collections
import random
import sys
import time

import harness
from harness import Cloud, Gateway, Reply

# Savepoint ids and job ids choose what the provider does.
ANSWERS = {
    "ok": None,
    "bad-argument": Reply(400, b'{"error_code":"DLI.0001","error_msg":"told"}'),
    "html-404": Reply(404, b"<html>404</html>"),
    "throttled": Reply(429, b"{}"),
    "broken": Reply(500, b"{}"),
    "unavailable": Reply(503, b"{}"),
    "not-json": Reply(200, b"<html>"),
    "cut-short": Reply(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", then="close"),
    "reset": Reply(raw=b"", then="reset"),
    "silence": Reply(then="silence"),
}
NAMES = list(ANSWERS)
# Mostly good, as in life; every other answer is there all the time.
WEIGHTS = [70] + [10] * 2 + [2] * 6 + [1]
CHANNELS = 8
CHURN_SECONDS = 1.0
LATENCY = 0.02


def answer(request):
    if request.method == "POST":
        name = NAMES[int(request.path.split("/")[-2]) - 1]
    else:
        name = request.path.rsplit("/", 1)[1]
    reply = ANSWERS[name]
    if reply is not None:
        return reply
    plain = harness.good(request)
    return Reply(plain.status, plain.body, delay=LATENCY)


def slope_per_hour(samples):
    """Least squares, in units per hour."""
    n = len(samples)
    if n < 2:
        return 0.0
    mean_t = sum(t for t, _ in samples) / n
    mean_v = sum(v for _, v in samples) / n
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return 3600 * sum((t - mean_t) * (v - mean_v) for t, v in samples) / spread


async def soak(minutes, rate):
    cloud = await Cloud(answer).start()
    # Silent calls end by the gateway's own clock, so that both sides see the same code.
    gateway = await Gateway(cloud.url, "--default-timeout", "2s", "--max-timeout", "2s").start()
    chance = random.Random(1)
    seen = collections.Counter()
    lasting = collections.Counter()
    churned = 0
    samples = []
    channels = [gateway.channel() for _ in range(CHANNELS)]
    in_use = collections.Counter()

    async def one(_):
        name = chance.choices(NAMES, WEIGHTS)[0]
        channel = chance.choice(channels)
        in_use[channel] += 1
        try:
            if chance.random() < 0.5:
                # No deadline of the caller's own.
                code, took, _ = await harness.get(channel, name, timeout=None)
                method = "GetSavepoint"
            else:
                job = NAMES.index(name) + 1
                code, took, _ = await harness.put(channel, job, timeout=None)
                method = "ImportSavepoint"
        finally:
            in_use[channel] -= 1
        seen[method, code] += 1
        lasting[name] = max(lasting[name], took)

    async def churn():
        nonlocal churned
        while True:
            await asyncio.sleep(CHURN_SECONDS)
            old, channels[churned % CHANNELS] = channels[churned % CHANNELS], gateway.channel()
            churned += 1
            while in_use[old]:
                await asyncio.sleep(0.05)
            del in_use[old]
            await old.close()

    began = time.monotonic()

    async def watch():
        while True:
            samples.append((time.monotonic() - began, *gateway.sample()))
            await asyncio.sleep(5)

    side = [asyncio.ensure_future(churn()), asyncio.ensure_future(watch())]
    tasks = set()
    total = int(minutes * 60 * rate)
    for index in range(total):
        wait = began + index / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.ensure_future(one(index))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    took = time.monotonic() - began
    while tasks:
        await asyncio.gather(*list(tasks))
    for task in side:
        task.cancel()
    samples.append((time.monotonic() - began, *gateway.sample()))
    for channel in channels:
        await channel.close()

    handled = await gateway.handled()
    if handled != seen:
        # A call is counted when its answer is made; nothing may lag behind for long.
        await asyncio.sleep(1)
        handled = await gateway.handled()
    gateway.signal(harness.signal.SIGTERM)
    code = await gateway.ended()
    await cloud.stop()
    cloud.server.close()

    warm = [s for s in samples if s[0] >= 0.2 * took]
    mib = 1024 * 1024
    rss = slope_per_hour([(t, r / mib) for t, r, _, _ in warm])
    fds = slope_per_hour([(t, f) for t, _, _, f in warm])
    figures = {
        "calls": sum(seen.values()),
        "rate": sum(seen.values()) / took,
        "minutes": took / 60,
        "connections": churned + CHANNELS,
        "rss_warm": warm[0][1] / mib,
        "rss_last": warm[-1][1] / mib,
        "rss_max": max(s[1] for s in samples) / mib,
        "rss_slope": rss,
        "fds": (min(s[3] for s in warm), max(s[3] for s in warm)),
        "fds_slope": fds,
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
    if figures["minutes"] >= 20:
        if figures["rss_slope"] > 1:
            bad.append(f"memory grows by {figures['rss_slope']:.2f} MiB/h")
        if abs(figures["fds_slope"]) > 10:
            bad.append(f"file descriptors grow by {figures['fds_slope']:.1f}/h")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    options = parser.parse_args()
    figures = asyncio.run(soak(options.minutes, options.rate))
    bad = verdict(figures)
    f = figures
    rows = [
        "| figure | measured |",
        "| --- | --- |",
        f"| duration | {f['minutes']:.1f} min |",
        f"| calls | {f['calls']:,} ({f['rate']:.0f}/s), {f['codes']} pairs of method and code |",
        f"| connections made | {f['connections']:,} |",
        f"| resident memory after warm-up, at the end, at most | {f['rss_warm']:.1f}, "
        f"{f['rss_last']:.1f}, {f['rss_max']:.1f} MiB |",
        f"| slope of resident memory | {f['rss_slope']:+.2f} MiB/h |",
        f"| file descriptors, least and most | {f['fds'][0]}, {f['fds'][1]} |",
        f"| slope of file descriptors | {f['fds_slope']:+.1f}/h |",
        f"| threads, least and most | {f['threads'][0]}, {f['threads'][1]} |",
        f"| panics | {f['panics']} |",
        f"| counts of gateway and callers | {'equal' if f['counts_equal'] else 'DIFFERENT'} |",
        f"| exit code after SIGTERM | {f['exit']} |",
        f"| verdict | {'passed' if not bad else 'failed: ' + '; '.join(bad)} |",
    ]
    print("\n".join(rows))
    if options.write:
        stamp = time.strftime("%Y-%m-%d", time.gmtime())
        machine = f"{harness.os.cpu_count()} processors, Linux"
        harness.write_block("soak", [f"Measured {stamp} on {machine}.", "", *rows])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
