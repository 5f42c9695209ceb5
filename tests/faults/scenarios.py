#!/usr/bin/env python3
"""Twenty faults against the real binary: each with what must hold, and what was measured."""

import argparse
import asyncio
import collections
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import grpc

import harness
import soak
from harness import GOT, IMPORTED, LONG, Cloud, Gateway, Proxy, Reply, at_rate, good, quantile

RATE = 200
SCENARIOS = []


class Skip(Exception):
    """This cannot be tried, and why."""


def scenario(number, title, criterion, quick=True):
    def register(function):
        SCENARIOS.append((number, title, criterion, quick, function))
        return function

    return register


def not_yet(number, title, criterion, why):
    async def skip(_):
        raise Skip(why)

    scenario(number, title, criterion)(skip)


def ms(seconds):
    return f"{1000 * seconds:.1f} ms"


@contextlib.asynccontextmanager
async def stage(answer=good, *flags, cloud_url=None, **options):
    """A provider and a gateway in front of it, and both gone afterwards."""
    cloud = await Cloud(answer).start()
    gateway = Gateway(cloud_url(cloud) if cloud_url else cloud.url, *flags, **options)
    try:
        await gateway.start()
        async with gateway.channel() as channel:
            yield cloud, gateway, channel
        assert gateway.panics == 0, "a panic"
    finally:
        await gateway.stop()
        await cloud.stop()


@scenario(1, "the provider dies under load and comes back",
          "every call ends in its time with OK, UNAVAILABLE or DEADLINE_EXCEEDED; the first OK "
          "within 2 s of the return")
async def killed(quick):
    async with stage() as (cloud, _, channel), harness.own_lag() as lag:
        down = 2 if quick else 10
        ends = []

        async def one(index):
            call = harness.get if index % 2 else harness.put
            code, took, _ = await call(channel, timeout=2.0)
            ends.append((time.monotonic(), code, took))

        load = asyncio.ensure_future(at_rate(RATE, down + 4, one))
        await asyncio.sleep(1)
        await cloud.stop()
        await asyncio.sleep(down)
        await cloud.start()
        back = time.monotonic()
        await load
        codes = collections.Counter(code for _, code, _ in ends)
        assert set(codes) <= {"OK", "Unavailable", "DeadlineExceeded"}, codes
        longest = max(took for _, _, took in ends)
        # A caller that is late itself cannot tell.
        assert longest < 2.5 + 2 * lag[0], f"a call took {longest:.2f} s with a deadline of 2 s"
        first = min(at for at, code, _ in ends if code == "OK" and at > back) - back
        assert first < 2, f"first OK after {first:.2f} s"
        return f"{len(ends)} calls, {dict(codes)}, first OK after {ms(first)}, longest {ms(longest)}"


@scenario(2, "the provider accepts and never answers",
          "every call ends at its deadline; memory returns to within 10 % (at least 2 MiB)")
async def silent(_):
    async with stage(lambda _: Reply(then="silence")) as (cloud, gateway, channel):
        async def wave():
            return await asyncio.gather(
                *(harness.get(channel, timeout=0.7) for _ in range(200)))

        await wave()
        before = gateway.sample()[0]
        late = 0.0
        for _ in range(4):
            for code, took, _ in await wave():
                assert code == "DeadlineExceeded", code
                late = max(late, took - 0.7)
        after = gateway.sample()[0]
        assert late < 0.5, f"{late:.2f} s late"
        assert after < before * 1.1 + 2 * 1024 * 1024, f"{before} to {after} bytes"
        return f"1,000 calls, at most {ms(late)} late, memory {(after - before) / 1024:+.0f} KiB"


@scenario(3, "the provider takes 5 s (quick: 2 s) for each answer",
          "over the limit GATEWAY_OVERLOADED at once; the other provider is not affected; ready")
async def slow(quick):
    def answer(request):
        if request.method == "GET":
            return Reply(GOT.status, GOT.body, delay=2.0 if quick else 5.0)
        return IMPORTED

    async with stage(answer, "--max-in-flight", "64") as (cloud, gateway, channel):
        calls = [asyncio.ensure_future(harness.get(channel)) for _ in range(500)]
        await harness.until(lambda: cloud.requests >= 64, what="64 calls at the provider")
        others = [await harness.put(channel) for _ in range(50)]
        ready, _ = await gateway.http("/readyz")
        results = await asyncio.gather(*calls)
        codes = collections.Counter(code for code, _, _ in results)
        assert codes == {"OK": 64, "ResourceExhausted": 436}, codes
        assert ready == 200 and all(code == "OK" for code, _, _ in others)
        shed = quantile([took for code, took, _ in results if code != "OK"], 0.99)
        other = quantile([took for _, took, _ in others], 0.99)
        assert shed < 2, f"shed after {shed:.2f} s"
        assert other < 1, f"the other provider took {other:.2f} s"
        return f"64 served, 436 shed, p99 of a refusal {ms(shed)}, of the other provider {ms(other)}"


@scenario(4, "pooled connections go dead without a word",
          "each costs one call its deadline at most; calls work again within 20 s")
async def half_open(quick):
    cloud = await Cloud().start()
    proxy = await Proxy(cloud.port).start()
    gateway = Gateway(proxy.url, "--workers", "1")
    try:
        await gateway.start()
        async with gateway.channel() as channel:
            await asyncio.gather(*(harness.get(channel) for _ in range(3 if quick else 8)))
            pooled = proxy.accepted
            proxy.freeze()
            began, failed = time.monotonic(), 0
            while True:
                code, _, _ = await harness.get(channel, timeout=1.0)
                if code == "OK":
                    break
                assert code in ("DeadlineExceeded", "Unavailable"), code
                failed += 1
                assert failed <= pooled, "more failures than connections"
            took = time.monotonic() - began
            assert took < 20, f"{took:.1f} s"
            return f"{pooled} connections went dead, {failed} calls failed, OK after {took:.1f} s"
    finally:
        await gateway.stop()
        await proxy.stop()
        await cloud.stop()


@scenario(5, "the provider closes a connection just before it is used again",
          "every get is OK; no import is sent twice, and one that fails says outcome unknown")
async def idle_close(_):
    def answer(request):
        plain = good(request)
        return Reply(plain.status, plain.body, then="close")

    async with stage(answer) as (cloud, _, channel):
        codes = collections.Counter()
        for job in range(1, 201):
            code, _, _ = await harness.get(channel)
            assert code == "OK", code
            code, _, _ = await harness.put(channel, job)
            codes[code] += 1
            assert code in ("OK", "Unavailable"), code
        imports = [n for (method, _), n in cloud.by_path.items() if method == "POST"]
        assert all(n == 1 for n in imports), "an import was sent twice"
        return f"200 gets OK; 200 imports: {dict(codes)}, none sent twice"


@scenario(6, "5 % of packets lost, 100 ms round trip",
          "every call ends with OK; no import is sent twice", quick=False)
async def lossy(_):
    for tool in ("unshare", "tc", "ip"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not here")
    # In a network of its own, so that nothing else on the machine is disturbed.
    script = ("ip link set lo up && tc qdisc add dev lo root netem delay 50ms loss 5% && "
              'exec "$0" "$1" --lossy-inside')
    process = await asyncio.create_subprocess_exec(
        "unshare", "--net", "sh", "-c", script, sys.executable, __file__,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), 180)
    text = err.decode(errors="replace")
    if process.returncode == 0:
        return out.decode().strip().splitlines()[-1]
    if "netem" in text or "qdisc" in text or "unshare" in text or "permitted" in text:
        raise Skip(f"the machine allows no netem: {text.strip().splitlines()[0]}")
    raise AssertionError(text.strip().splitlines()[-1])


async def lossy_inside():
    async with stage() as (cloud, _, channel):
        async def one(index):
            if index % 2:
                return await harness.get(channel, timeout=20)
            return await harness.put(channel, index + 1, timeout=20)

        results = await at_rate(20, 15, one)
        codes = collections.Counter(code for code, _, _ in results)
        imports = [n for (method, _), n in cloud.by_path.items() if method == "POST"]
        assert set(codes) == {"OK"}, codes
        assert all(n == 1 for n in imports), "an import was sent twice"
        times = [took for _, took, _ in results]
        print(f"{len(results)} calls OK, p50 {ms(quantile(times, 0.5))}, "
              f"p99 {ms(quantile(times, 0.99))}, no import twice")


@scenario(7, "30 % of connections are reset within the answer",
          "gets are tried again; imports are sent once, and those that fail say outcome unknown")
async def resets(quick):
    turn, count = 0, 100 if quick else 300

    def answer(request):
        nonlocal turn
        turn += 1
        if turn % 10 < 3:
            return Reply(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", then="reset")
        return good(request)

    async with stage(answer) as (cloud, _, channel):
        gets, imports = collections.Counter(), collections.Counter()
        for job in range(1, count + 1):
            code, _, _ = await harness.get(channel)
            gets[code] += 1
            code, _, trailers = await harness.put(channel, job)
            imports[code] += 1
            if code != "OK":
                assert b"unknown" in trailers["grpc-status-details-bin"], trailers
                assert trailers["grpc-retry-pushback-ms"] == "-1", trailers
        sent = [n for (method, _), n in cloud.by_path.items() if method == "POST"]
        assert all(n == 1 for n in sent) and len(sent) == count, "imports at the provider"
        assert set(gets) <= {"OK", "Unavailable", "Internal"}, gets
        assert gets["OK"] >= 0.8 * count, gets
        return f"{count} gets: {dict(gets)}; {count} imports: {dict(imports)}, each sent once"


not_yet(8, "the provider's name gets a new address", "new connections go there within 60 s",
        "needs a name server of its own, which this suite does not bring")
not_yet(9, "the name server is down for 60 s", "open connections go on working",
        "needs a name server of its own, which this suite does not bring")


@scenario(10, "half of all calls are throttled with a wait of 7 s",
          "the caller is told 7 s; at most 1.1 requests for each call, and 50 that were saved up")
async def throttled(_):
    turn = 0

    def answer(request):
        nonlocal turn
        turn += 1
        if turn % 2:
            return Reply(429, b"{}", headers=[("retry-after", "7")])
        return good(request)

    async with stage(answer) as (cloud, _, channel):
        told = collections.Counter()
        for _ in range(400):
            code, _, trailers = await harness.get(channel, timeout=5.0)
            told[code] += 1
            if code != "OK":
                details = trailers["grpc-status-details-bin"]
                # google.rpc.RetryInfo with a delay of 7 seconds.
                at = details.index(b"google.rpc.RetryInfo")
                assert b"\x0a\x02\x08\x07" in details[at:], details
        assert told == {"OK": 200, "ResourceExhausted": 200}, told
        assert cloud.requests <= 1.1 * 400 + 50, cloud.requests
        return f"400 calls, 200 told to wait 7 s, {cloud.requests} requests at the provider"


not_yet(11, "the serving certificate is replaced under load", "no call fails",
        "serving TLS is not tried by this suite")
not_yet(12, "a credential file is replaced under load", "no call is refused",
        "credential files are not tried by this suite")
not_yet(13, "a credential file is replaced by garbage", "the old one serves on",
        "credential files are not tried by this suite")


@scenario(14, "two gateways are restarted one after the other under load",
          "no call fails; each ends with exit code 0 in its time; not ready before connections end")
async def rolling(quick):
    latency = 0.3 if quick else 2.0

    def answer(request):
        plain = good(request)
        return Reply(plain.status, plain.body, delay=latency)

    cloud = await Cloud(answer).start()
    flags = ("--drain-timeout", "10s", "--drain-delay", "1s", "--max-in-flight", "4096")
    gateways = [Gateway(cloud.url, *flags) for _ in range(2)]
    try:
        for gateway in gateways:
            await gateway.start()
        target = "ipv4:" + ",".join(gateway.address for gateway in gateways)
        # Its own default would be both addresses with a comma, which is no authority.
        options = [("grpc.default_authority", "gateway.test"),
                   ("grpc.lb_policy_name", "round_robin"),
                   ("grpc.initial_reconnect_backoff_ms", 100),
                   ("grpc.min_reconnect_backoff_ms", 100),
                   ("grpc.max_reconnect_backoff_ms", 500),
                   ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            await asyncio.gather(
                *(harness.get(channel, wait_for_ready=True) for _ in range(20)))
            stop = asyncio.Event()

            async def one(index):
                call = harness.get if index % 2 else harness.put
                return await call(channel, timeout=20)

            load = asyncio.ensure_future(at_rate(100, 120, one, stop))
            drained = []
            for index in range(2):
                await asyncio.sleep(1)
                old = gateways[index]
                began = time.monotonic()
                old.signal(signal.SIGTERM)

                async def unready(gateway=old):
                    return (await gateway.http("/readyz"))[0] == 503

                await harness.until(unready, what="not ready while it drains")
                code = await old.ended()
                drained.append(time.monotonic() - began)
                assert code == 0, f"exit code {code}"
                gateways[index] = Gateway(cloud.url, *flags, listen=old.address)
                await gateways[index].start()
                await asyncio.sleep(1)
            stop.set()
            results = await load
        codes = collections.Counter(code for code, _, _ in results)
        assert set(codes) == {"OK"}, codes
        slowest = max(drained)
        assert slowest < 11, f"{slowest:.1f} s"
        return f"{len(results)} calls, none failed; a drain took {slowest:.1f} s at most"
    finally:
        for gateway in gateways:
            await gateway.stop()
        await cloud.stop()


@scenario(15, "SIGTERM with a peer that never speaks and one that never answers",
          "exit code 0 within the drain timeout and 1 s")
async def deaf_peers(_):
    async with stage(good, "--drain-timeout", "5s") as (_, gateway, _):
        peers = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(2)]
        peers[1].sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        await asyncio.get_running_loop().run_in_executor(None, peers[1].recv, 9)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        code = await gateway.ended()
        took = time.monotonic() - began
        for peer in peers:
            peer.close()
        assert code == 0 and took < 6, f"exit code {code} after {took:.1f} s"
        return f"exit code 0 after {took:.2f} s"


@scenario(16, "SIGKILL and a new start, on a port and on a Unix socket",
          "serving within 1 s; no stale socket in the way")
async def killed_itself(_):
    with tempfile.TemporaryDirectory() as folder:
        figures = []
        for listen in ("127.0.0.1:0", f"unix:{folder}/gateway.sock"):
            cloud = await Cloud().start()
            old = await Gateway(cloud.url, listen=listen).start()
            new = Gateway(cloud.url, listen=old.address)
            try:
                old.signal(signal.SIGKILL)
                await old.ended()
                began = time.monotonic()
                await new.start()
                async with new.channel() as channel:
                    code, _, _ = await harness.put(channel, wait_for_ready=True)
                took = time.monotonic() - began
                assert code == "OK", code
                assert took < 1, f"{took:.2f} s"
                figures.append(ms(took))
            finally:
                await old.stop()
                await new.stop()
                await cloud.stop()
        return f"first answer {figures[0]} after the start on a port, {figures[1]} on a socket"


async def timed(channel, seconds, rate=100):
    results = await at_rate(rate, seconds, lambda _: harness.get(channel, timeout=10.0))
    bad = collections.Counter(code for code, _, _ in results if code != "OK")
    assert not bad, bad
    return quantile([took for _, took, _ in results], 0.99), len(results)


@scenario(17, "10,000 idle connections, and no file descriptor left",
          "good calls all OK; p99 below twice that without, and 25 ms; memory below 256 MiB; "
          "calls work again when descriptors do")
async def crowd(quick):
    wanted, seconds = (500, 1) if quick else (10_000, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + 500
    if hard != resource.RLIM_INFINITY and hard < enough:
        wanted = hard - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, enough)), hard))
    async with stage(good, "--max-connections", "20000") as (_, gateway, channel):
        base, _ = await timed(channel, seconds)
        before = gateway.sample()[0]
        crowd = []
        try:
            for _ in range(wanted):
                peer = socket.create_connection(("127.0.0.1", gateway.port))
                peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                crowd.append(peer)
                if len(crowd) % 100 == 0:
                    await asyncio.sleep(0)
            await harness.until(lambda: gateway.sample()[2] >= wanted, what="all connections")
            loaded, _ = await timed(channel, seconds)
            rss = gateway.sample()[0]
        finally:
            for peer in crowd:
                peer.close()

        async def alone():
            return (await gateway.metrics())["grpc_server_connections"] <= 1

        await harness.until(alone, what="the connections end")
        after = gateway.sample()[0]
    assert rss < 256 * 1024 * 1024, f"{rss} bytes"
    assert loaded < 2 * base + 0.025, f"p99 {ms(base)} to {ms(loaded)}"
    mib = 1024 * 1024
    first = (f"{wanted} connections: p99 {ms(base)} before, {ms(loaded)} with them; "
             f"{(rss - before) / wanted / 1024:.1f} KiB each, {rss / mib:.0f} MiB in all, "
             f"{after / mib:.0f} MiB after")

    prefix = ("prlimit", "--nofile=64:64")
    if not shutil.which("prlimit"):
        raise Skip("prlimit is not here")
    async with stage(good, prefix=prefix) as (_, gateway, channel):
        code, _, _ = await harness.put(channel)
        assert code == "OK", code
        crowd = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(200)]
        await harness.until(lambda: gateway.sample()[2] >= 64, what="no descriptor left")
        cpu = cpu_seconds(gateway.pid)
        await asyncio.sleep(1)
        burnt = cpu_seconds(gateway.pid) - cpu
        for peer in crowd:
            peer.close()
        began = time.monotonic()
        async with gateway.channel() as fresh:
            code, _, _ = await harness.put(fresh, wait_for_ready=True)
        assert code == "OK", code
        assert burnt < 0.5, f"{burnt:.2f} s of processor in 1 s without descriptors"
        took = time.monotonic() - began
    return f"{first}; 64 descriptors and 200 peers: {burnt:.2f} s of processor a second, OK after {ms(took)}"


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def attack(port, seconds):
    """Floods from one thread, one connection after the other, without mercy."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

    def frame(kind, flags, stream, payload=b""):
        return (len(payload).to_bytes(3, "big") + bytes([kind, flags])
                + stream.to_bytes(4, "big") + payload)

    def block(fields):
        return b"".join(b"\x10" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields)

    fields = block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x/Y"),
                    (b":authority", b"x"), (b"content-type", b"application/grpc")])
    resets = b"".join(frame(1, 4, 2 * n + 1, fields) + frame(3, 0, 2 * n + 1, b"\0\0\0\x08")
                      for n in range(2000))
    continuations = frame(1, 0, 1, fields) + frame(9, 0, 1, block([(b"a", b"b")])) * 2000
    pings = frame(6, 0, 0, b"12345678") * 5000
    settings = frame(4, 0, 0) * 5000
    end, made = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for bytes_ in (resets, continuations, pings, settings):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as s:
                s.settimeout(1)
                made += 1
                s.sendall(preface + bytes_)
                while s.recv(65536):
                    pass
    print(made)


@scenario(18, "floods of resets, CONTINUATION, PING and SETTINGS beside good traffic",
          "good calls all OK; p99 below twice that without, and 50 ms; memory flat (8 MiB)")
async def attackers(quick):
    seconds = 2 if quick else 15
    async with stage() as (_, gateway, channel):
        await timed(channel, 1)
        base, _ = await timed(channel, seconds)
        async def attacked():
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--attack", str(gateway.port), str(seconds),
                stdout=asyncio.subprocess.PIPE)
            p99, calls = await timed(channel, seconds)
            out, _ = await process.communicate()
            return p99, calls, int(out)

        await attacked()
        before = gateway.sample()[0]
        p99, calls, made = await attacked()
        grown = gateway.sample()[0] - before
        assert made > 0, "no attack was made"
        assert p99 < 2 * base + 0.05, f"p99 {ms(base)} to {ms(p99)}"
        assert grown < 8 * 1024 * 1024, f"{grown} bytes more"
        return (f"{made} floods in {seconds} s, {calls} good calls all OK, p99 {ms(base)} before, "
                f"{ms(p99)} beside them, memory {grown / 1024:+.0f} KiB")


@scenario(19, "a soak in small: mixed answers, connections that come and go",
          "counts of gateway and callers are equal; no panic (the long one stands below)")
async def soak_in_small(quick):
    figures = await soak.soak(0.1 if quick else 0.5, RATE)
    bad = soak.verdict(figures)
    assert not bad, bad
    return f"{figures['calls']} calls, {figures['codes']} pairs of method and code, counts equal"


@scenario(20, "nobody reads the log, or it is closed",
          "every call OK; p99 below twice that with a reader, and 25 ms; no death by SIGPIPE")
async def log_blocked(quick):
    async with stage() as (_, gateway, channel):
        await timed(channel, 1, RATE)
        base, _ = await timed(channel, 3, RATE)
        # The pipe fills up, and writing to it blocks.
        gateway._reading.cancel()
        gateway.process._transport.get_pipe_transport(2).pause_reading()
        p99, calls = await timed(channel, 4 if quick else 10, RATE)
        dropped = sum(v for k, v in (await gateway.metrics()).items()
                      if k.startswith("log_lines_dropped"))
        blocked, gateway._reading = p99, None
        # And then it is closed.
        gateway.process._transport.get_pipe_transport(2).close()
        await timed(channel, 1, RATE)
        assert gateway.process.returncode is None, "the gateway is gone"
        assert blocked < 2 * base + 0.025, f"p99 {ms(base)} to {ms(blocked)}"
        return (f"{calls} calls OK, p99 {ms(base)} with a reader, {ms(blocked)} without, "
                f"{dropped:.0f} lines dropped; OTLP is not tried by this suite")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="below a minute, for CI")
    parser.add_argument("--only", help="these numbers, with commas between")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    parser.add_argument("--attack", nargs=2, metavar=("PORT", "SECONDS"), help=argparse.SUPPRESS)
    parser.add_argument("--lossy-inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        attack(int(options.attack[0]), float(options.attack[1]))
        return 0
    if options.lossy_inside:
        asyncio.run(lossy_inside())
        return 0
    only = {int(n) for n in options.only.split(",")} if options.only else None
    counts = collections.Counter()
    rows = ["| # | fault | must hold | result | measured |", "| --- | --- | --- | --- | --- |"]
    began_all = time.monotonic()
    for number, title, criterion, quick, function in SCENARIOS:
        if (only and number not in only) or (options.quick and not quick):
            continue
        began = time.monotonic()
        try:
            figure = asyncio.run(asyncio.wait_for(function(options.quick), 240))
            result = "passed"
        except Skip as skip:
            figure, result = str(skip), "skipped"
        except Exception as error:  # One broken scenario must not hide the others.
            figure, result = f"{type(error).__name__}: {error}", "failed"
        counts[result] += 1
        took = time.monotonic() - began
        print(f"{number:2} {result:7} {took:5.1f} s  {title}: {figure}", flush=True)
        rows.append(f"| {number} | {title} | {criterion} | {result} | {figure} |")
    total = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    print(f"{total} in {time.monotonic() - began_all:.0f} s")
    if options.write:
        stamp = time.strftime("%Y-%m-%d", time.gmtime())
        machine = f"{os.cpu_count()} processors, Linux"
        harness.write_block("faults", [f"Measured {stamp} on {machine}: {total}.", "", *rows])
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
