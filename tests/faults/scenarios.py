#!/usr/bin/env python3
"""Faults against the real binary: each with what must hold, and what was measured."""

import argparse
import asyncio
import collections
import contextlib
import fcntl
import functools
import math
import os
import resource
import shutil
import signal
import socket
import struct
import sys
import tempfile
import termios
import time

import grpc

import clusters  # noqa: F401 (registers its scenarios)
import harness
import loss
import names  # noqa: F401
import rotation  # noqa: F401
import soak
from harness import GOT, H2_HELLO, IMPORTED, Cloud, Gateway, Proxy, Reply, at_rate, good, quantile
from scenario import SCENARIOS, Skip, ms, scenario, stage

RATE = 200
# What a health watch says.
SERVING, NOT_SERVING = b"\x08\1", b"\x08\2"
MIB = 1024 * 1024


@scenario(1, "the provider dies under load and comes back",
          "every call ends in its time with OK, UNAVAILABLE or DEADLINE_EXCEEDED; the first OK "
          "within 2 s of the return")
async def killed(quick):
    async with stage() as (cloud, _, channel), harness.own_lag() as lag:
        down = 1 if quick else 10
        ends = []

        async def one(index):
            call = harness.get if index % 2 else harness.put
            code, took, _ = await call(channel, timeout=2.0)
            ends.append((time.monotonic(), code, took))

        load = asyncio.ensure_future(at_rate(RATE, 1 + down + (1 if quick else 3), one))
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
        assert first < 2 + 2 * lag[0], f"first OK after {first:.2f} s"
        return (f"{len(ends)} calls, {dict(codes)}, first OK after {ms(first)}, longest "
                f"{ms(longest)}")


@scenario(2, "the provider accepts and never answers",
          "every call ends at its deadline; memory returns to within 10 % (at least 2 MiB)")
async def silent(quick):
    deadline = 0.4 if quick else 0.7
    async with stage(lambda _: Reply(then="silence")) as (cloud, gateway, channel), \
            harness.own_lag() as lag:
        async def wave():
            return await asyncio.gather(
                *(harness.get(channel, timeout=deadline) for _ in range(200)))

        await wave()
        before = gateway.sample()[0]
        late = 0.0
        for _ in range(4):
            for code, took, _ in await wave():
                assert code == "DeadlineExceeded", code
                late = max(late, took - deadline)
        assert late < 0.5 + 2 * lag[0], f"{late:.2f} s late"
        # The allocator gives back what it does not use within a second.
        most = before * 1.1 + 2 * 1024 * 1024
        await harness.until(lambda: gateway.sample()[0] < most, what=f"memory is below {most:.0f}")
        after = gateway.sample()[0]
        return f"1,000 calls, at most {ms(late)} late, memory {(after - before) / 1024:+.0f} KiB"


@scenario(3, "the provider takes 5 s (quick: 1 s) for each answer",
          "over the limit GATEWAY_OVERLOADED at once; the other provider is not affected; ready")
async def slow(quick):
    def answer(request):
        if request.method == "GET":
            return Reply(GOT.status, GOT.body, delay=1.0 if quick else 5.0)
        return IMPORTED

    async with stage(answer, "--max-in-flight", "64") as (cloud, gateway, channel), \
            harness.own_lag() as lag:
        calls = [asyncio.ensure_future(harness.get(channel)) for _ in range(500)]
        await harness.until(lambda: cloud.requests >= 64, what="64 calls at the provider")
        others = [await harness.put(channel) for _ in range(50)]
        ready = await gateway.is_ready()
        results = await asyncio.gather(*calls)
        codes = collections.Counter(code for code, _, _ in results)
        assert codes == {"OK": 64, "ResourceExhausted": 436}, codes
        assert ready and all(code == "OK" for code, _, _ in others)
        shed = quantile([took for code, took, _ in results if code != "OK"], 0.99)
        other = quantile([took for _, took, _ in others], 0.99)
        assert shed < 2 + 2 * lag[0], f"shed after {shed:.2f} s"
        assert other < 1 + 2 * lag[0], f"the other provider took {other:.2f} s"
        return (f"64 served, 436 shed, p99 of a refusal {ms(shed)}, of the other provider "
                f"{ms(other)}")


@scenario(4, "pooled connections go dead without a word, and a caller answers no PING",
          "each costs one call its deadline at most; calls work again within 20 s; the caller is "
          "disconnected within 90 s (not in --quick)")
async def half_open(quick):
    # The caller makes no call, and is not disconnected for that.
    flags = ("--workers", "1", "--peer-timeout", "1h")
    async with (Cloud() as cloud, Proxy(cloud.port) as proxy,
                Gateway(proxy.url, *flags) as gateway, gateway.channel() as channel):
        await asyncio.gather(*(harness.get(channel) for _ in range(2 if quick else 8)))
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
        figure = f"{pooled} connections went dead, {failed} calls failed, OK after {took:.1f} s"
        if quick:
            return figure
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(H2_HELLO)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 90)
        writer.close()
        return f"{figure}; the caller disconnected after {time.monotonic() - began:.0f} s"


@scenario(5, "the provider closes a connection just before it is used again",
          "every get is OK; no import is sent twice, and one that fails says outcome unknown")
async def idle_close(quick):
    count = 50 if quick else 200

    async with stage(functools.partial(good, then="close")) as (cloud, _, channel):
        codes = collections.Counter()
        for job in range(1, count + 1):
            code, _, _ = await harness.get(channel)
            assert code == "OK", code
            code, _, _ = await harness.put(channel, job)
            codes[code] += 1
            assert code in ("OK", "Unavailable"), code
        cloud.assert_imports_once()
        return f"{count} gets OK; {count} imports: {dict(codes)}, none sent twice"


@scenario(6, "5 % of segments lost, 100 ms round trip, emulated on the streams of both sides",
          "every call ends with OK; no import is sent twice; p99 below two round trips and what "
          "loss explains: the longest stall of either side and two single ones")
async def lossy(quick):
    async with (Cloud() as cloud, loss.path(cloud.port, seed=1) as far,
                Gateway(f"http://{far.address}") as gateway,
                loss.path(gateway.port, seed=2) as near, harness.own_lag() as lag,
                gateway.channel(address=near.address) as channel):
        async def one(index):
            if index % 2:
                return await harness.get(channel, timeout=20)
            return await harness.put(channel, index + 1, timeout=20)

        # Its connections stand; a lost SYN would be felt by many calls at once.
        await asyncio.gather(*(one(index) for index in range(8)))
        results = await at_rate(10, 2 if quick else 60, lambda index: one(8 + index))
    codes = collections.Counter(code for code, _, _ in results)
    assert set(codes) == {"OK"}, codes
    cloud.assert_imports_once()
    times = [took for _, took, _ in results]
    bound = 0.2 + near.longest + far.longest + 2 * loss.DATA_TIMEOUT + 2 * lag[0]
    p99 = quantile(times, 0.99)
    assert p99 < bound, f"p99 {ms(p99)}, more than {ms(bound)}"
    lost, segments = near.lost + far.lost, near.segments + far.segments
    return (f"{len(results)} calls OK, p50 {ms(quantile(times, 0.5))}, p99 {ms(p99)}, "
            f"{lost} losses among {segments} segments, no import twice")


@scenario(7, "30 % of connections are reset within the answer",
          "gets are tried again; imports are sent once, and those that fail say outcome unknown")
async def resets(quick):
    turn, count = 0, 60 if quick else 300

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
        assert cloud.assert_imports_once() == count, "imports at the provider"
        assert set(gets) <= {"OK", "Unavailable", "Internal"}, gets
        assert gets["OK"] >= 0.8 * count, gets
        return f"{count} gets: {dict(gets)}; {count} imports: {dict(imports)}, each sent once"


@scenario(10, "half of all calls are throttled with a wait of 7 s",
          "the caller is asked to wait 7 s; at most 1.1 requests for each call, and 50 that were saved up")
async def throttled(_):
    turn = 0

    def answer(request):
        nonlocal turn
        turn += 1
        if turn % 2:
            return Reply(429, b"{}", headers=[("retry-after", "7")])
        return good(request)

    async with stage(answer) as (cloud, _, channel):
        codes = collections.Counter()
        for _ in range(400):
            code, _, trailers = await harness.get(channel, timeout=5.0)
            codes[code] += 1
            if code != "OK":
                details = trailers["grpc-status-details-bin"]
                # google.rpc.RetryInfo with a delay of 7 seconds.
                at = details.index(b"google.rpc.RetryInfo")
                assert b"\x0a\x02\x08\x07" in details[at:], details
        assert codes == {"OK": 200, "ResourceExhausted": 200}, codes
        assert cloud.requests <= 1.1 * 400 + 50, cloud.requests
        return f"400 calls, 200 asked to wait 7 s, {cloud.requests} requests at the provider"


@scenario(14, "two gateways are restarted one after the other under load",
          "no call fails; each ends with exit code 0 in its time; not ready before connections end")
async def rolling(quick):
    latency, pause = (0.2, 0.3) if quick else (2.0, 1.0)
    answer = functools.partial(good, delay=latency)
    flags = ("--drain-timeout", "10s", "--drain-delay", f"{1000 * pause:.0f}ms",
             "--max-in-flight", "4096")
    async with Cloud(answer) as cloud, contextlib.AsyncExitStack() as stack:
        async def started(**options):
            return await stack.enter_async_context(Gateway(cloud.url, *flags, **options))

        gateways = [await started(), await started()]
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
                await asyncio.sleep(pause)
                old = gateways[index]
                began = time.monotonic()
                old.signal(signal.SIGTERM)
                await harness.until(old.is_draining, what="not ready while it drains")
                code = await old.ended()
                drained.append(time.monotonic() - began)
                assert code == 0, f"exit code {code}"
                gateways[index] = await started(listen=old.address)
                await asyncio.sleep(pause)
            stop.set()
            results = await load
        codes = collections.Counter(code for code, _, _ in results)
        assert set(codes) == {"OK"}, codes
        slowest = max(drained)
        assert slowest < 11, f"{slowest:.1f} s"
        return f"{len(results)} calls, none failed; a drain took {slowest:.1f} s at most"


@scenario(15, "SIGTERM with a peer that never speaks and one that never answers, and twice with a "
              "call in flight",
          "exit code 0 within the drain timeout and 1 s; after the second signal exit code 1 at "
          "once")
async def deaf_peers(_):
    async with stage(good, "--drain-timeout", "5s") as (_, gateway, channel):
        streams = [channel.unary_stream("/grpc.health.v1.Health/Watch")(b"") for _ in range(10)]
        for stream in streams:
            assert await stream.read() == SERVING
        peers = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(2)]
        peers[1].sendall(H2_HELLO)
        await asyncio.get_running_loop().run_in_executor(None, peers[1].recv, 9)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        code = await gateway.ended()
        took = time.monotonic() - began
        for peer in peers:
            peer.close()
        assert code == 0 and took < 3, f"exit code {code} after {took:.1f} s"
        for stream in streams:
            assert await stream.read() == NOT_SERVING
            assert await stream.code() == grpc.StatusCode.UNAVAILABLE
    async with stage(lambda _: Reply(then="silence"), "--drain-timeout", "60s") \
            as (cloud, gateway, channel):
        call = asyncio.ensure_future(harness.get(channel))
        await harness.until(lambda: cloud.requests, what="the call is at the provider")
        gateway.signal(signal.SIGTERM)
        await harness.until(gateway.is_draining, what="it drains")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        code = await gateway.ended()
        twice = time.monotonic() - began
        assert code == 1 and twice < 2, f"exit code {code} after {twice:.1f} s"
        code, _, _ = await call
        assert code == "Unavailable", code
        return f"exit code 0 after {took:.2f} s; at the second signal exit code 1 after {ms(twice)}"


@scenario(16, "SIGKILL and a new start, on a port and on a Unix socket",
          "serving within 1 s; no stale socket in the way")
async def killed_itself(_):
    with tempfile.TemporaryDirectory() as folder:
        figures = []
        for listen in ("127.0.0.1:0", f"unix:{folder}/gateway.sock"):
            async with Cloud() as cloud, Gateway(cloud.url, listen=listen) as old:
                old.signal(signal.SIGKILL)
                await old.ended()
                began = time.monotonic()
                async with (harness.own_lag() as lag,
                            Gateway(cloud.url, listen=old.address) as new,
                            new.channel() as channel):
                    code, _, _ = await harness.put(channel, wait_for_ready=True)
                    took = time.monotonic() - began
                assert code == "OK", code
                assert took < 1 + 2 * lag[0], f"{took:.2f} s"
                figures.append(ms(took))
        return f"first answer {figures[0]} after the start on a port, {figures[1]} on a socket"


async def in_turn(channels, rounds):
    """Calls one after the other, each channel in its turn, so that other work of the machine
    falls on all alike: how long each took, by name."""
    times = {name: [] for name in channels}
    order = list(channels)
    for _ in range(rounds):
        for name in order:
            code, took, _ = await harness.get(channels[name], timeout=10.0)
            assert code == "OK", f"{name}: {code}"
            times[name].append(took)
        order.append(order.pop(0))
    return times


def no_slower(name, times, plain, factor=1.0, extra=0.001):
    """That p50 and p99 are those of the plain ones, so many times and so many seconds more at
    most. For p99, what is counted is how many are slower than that: one of a hundred may be, and
    four deviations of that count."""
    slow, n = factor * quantile(plain, 0.99) + extra, len(times)
    slower, allowed = sum(took > slow for took in times), 0.01 * n + 4 * math.sqrt(0.01 * n)
    assert slower <= allowed, f"{name}: {slower} of {n} slower than {ms(slow)}"
    middle, plain_middle = quantile(times, 0.5), quantile(plain, 0.5)
    assert middle <= factor * plain_middle + extra, f"{name}: p50 {ms(plain_middle)}, {ms(middle)}"
    return f"{name} {ms(middle)} and {ms(quantile(times, 0.99))}"


@scenario(17, "10,000 idle connections, and more peers than file descriptors",
          "calls all OK; p50 and p99 at most 20 % and 1 ms above a gateway's without them, calls "
          "in turn; memory below 256 MiB, and within 15 s of their end back to what it was, but "
          "for 5 MiB and 1.5 KiB for each; peers take no descriptor that calls and probes need")
async def crowd(quick):
    wanted, rounds = (500, 100) if quick else (10_000, 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A gateway keeps the rest for calls and probes.
    enough = wanted + 2000
    if hard != resource.RLIM_INFINITY and hard < enough:
        wanted = hard - 2000
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, enough)), hard))
    # They make no call, and stay all the same.
    async with stage(good, "--max-connections", "20000", "--peer-timeout", "1h") \
            as (_, gateway, channel), \
            stage() as (_, _, plain):
        both = {"plain": plain, "crowded": channel}
        await in_turn(both, 100)
        before = gateway.sample()[0]
        crowd = []
        try:
            for _ in range(wanted):
                peer = socket.create_connection(("127.0.0.1", gateway.port))
                peer.sendall(H2_HELLO)
                crowd.append(peer)
                if len(crowd) % 100 == 0:
                    await asyncio.sleep(0)
            await harness.until(lambda: gateway.sample()[2] >= wanted, what="all connections")
            times = await in_turn(both, rounds)
            rss = gateway.sample()[0]
        finally:
            for peer in crowd:
                peer.close()

        async def alone():
            return (await gateway.metrics())["savepoint_gateway_connections"] <= 1

        await harness.until(alone, what="the connections end")
        kept, ended = 5 * MIB + wanted * 1536, time.monotonic()
        while (after := gateway.sample()[0]) > before + kept and time.monotonic() < ended + 15:
            await asyncio.sleep(0.1)
        waited = time.monotonic() - ended
    figure = no_slower("with them", times["crowded"], times["plain"], 1.2)
    first = (f"{wanted} connections: p50 and p99 {ms(quantile(times['plain'], 0.5))} and "
             f"{ms(quantile(times['plain'], 0.99))}, {figure}; "
             f"{(rss - before) / wanted / 1024:.1f} KiB each, {before / MIB:.1f} MiB before, "
             f"{rss / MIB:.1f} MiB with them, {after / MIB:.1f} MiB {waited:.1f} s after them")
    assert rss < 256 * MIB, f"too much memory: {first}"
    assert after <= before + kept, f"memory does not return: {first}"

    prefix = ("prlimit", "--nofile=64:64")
    if not shutil.which("prlimit"):
        raise Skip("prlimit is not here")
    async with stage(good, prefix=prefix) as (_, gateway, channel):
        code, _, _ = await harness.put(channel)
        assert code == "OK", code
        crowd = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(200)]

        async def refused():
            return (await gateway.metrics())["savepoint_gateway_connections_refused_total"] > 150

        await harness.until(refused, what="most peers are refused")
        for _ in range(50):
            code, _, _ = await harness.put(channel)
            assert code == "OK", code
        cpu = gateway.process.cpu_seconds()
        await asyncio.sleep(1)
        burnt = gateway.process.cpu_seconds() - cpu
        for peer in crowd:
            peer.close()
        began = time.monotonic()
        async with gateway.channel() as fresh:
            code, _, _ = await harness.put(fresh, wait_for_ready=True)
        assert code == "OK", code
        assert burnt < 0.5, f"{burnt:.2f} s of processor in 1 s with 200 peers"
        took = time.monotonic() - began
    return (f"{first}; 64 descriptors and 200 peers: calls OK, {burnt:.2f} s of processor a second, a "
            f"new caller served {ms(took)} after them")


def attack(port, seconds):
    """Floods from one thread, one connection after the other, without mercy."""
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
                s.sendall(H2_HELLO + bytes_)
                while s.recv(65536):
                    pass
    print(made)


@scenario(18, "floods of resets, CONTINUATION, PING and SETTINGS beside good traffic",
          "good calls all OK; p50 and p99 at most twice and 1 ms above those of a gateway that is "
          "not attacked, calls in turn; memory flat (8 MiB)")
async def attackers(quick):
    seconds = 1 if quick else 15
    async with stage() as (_, gateway, channel), stage() as (_, _, plain):
        both = {"plain": plain, "attacked": channel}
        await in_turn(both, 50)

        async def attacked():
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--attack", str(gateway.port), str(seconds),
                stdout=asyncio.subprocess.PIPE)
            times = {name: [] for name in both}
            while process.returncode is None:
                for name, found in (await in_turn(both, 20)).items():
                    times[name] += found
            return times, int(await process.stdout.read())

        await attacked()
        before = gateway.sample()[0]
        times, made = await attacked()
        grown = gateway.sample()[0] - before
    assert made > 0, "no attack was made"
    figure = no_slower("attacked", times["attacked"], times["plain"], 2.0)
    assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB more"
    calls = 2 * len(times["plain"])
    return (f"{made} floods in {seconds} s, {calls} good calls all OK, p50 and p99 "
            f"{ms(quantile(times['plain'], 0.5))} and {ms(quantile(times['plain'], 0.99))} beside "
            f"the attack, {figure}, memory {grown / 1024:+.0f} KiB")


@scenario(19, "a soak in small: mixed answers, connections that come and go",
          "counts of gateway and callers are equal; no panic (the long one stands below)")
async def soak_in_small(quick):
    figures = await soak.soak(0.05 if quick else 0.5, RATE)
    bad = soak.verdict(figures)
    assert not bad, bad
    return f"{figures['calls']} calls, {figures['codes']} pairs of method and code, counts equal"


def speaks_otlp():
    """Whether the binary knows the variable at all."""
    return b"OTEL_EXPORTER_OTLP" in harness.launcher.binary().read_bytes()


@scenario(20, "nobody reads the log, or it is closed; the trace collector takes all and answers "
              "nothing, or refuses",
          "every call OK; p50 and p99 no more than 1 ms above a gateway's whose log is read and "
          "that has no collector, calls in turn; lines and spans that are lost are counted; no "
          "death by SIGPIPE")
async def telemetry_stuck(quick):
    rounds = 100 if quick else 1000
    # Long lines fill the queue soon.
    reply = Reply(GOT.status, GOT.body.replace(b"R-1", b"R" * 128))
    black_hole = await asyncio.get_running_loop().create_server(
        asyncio.Protocol, "127.0.0.1", 0)
    otlp = speaks_otlp()
    async with (black_hole, Cloud(lambda _: reply) as cloud,
                contextlib.AsyncExitStack() as stack):
        # Bound and not listening: nobody else can have the port, and connections are refused.
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        gateways = {"plain": Gateway(cloud.url), "log unread": Gateway(cloud.url)}
        if otlp:
            silent, refusing = black_hole.sockets[0].getsockname()[1], closed.getsockname()[1]
            for name, protocol, port in (("collector silent", "http/protobuf", silent),
                                         ("silent over gRPC", "grpc", silent),
                                         ("collector refuses", "http/protobuf", refusing)):
                gateways[name] = Gateway(cloud.url, env={
                    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                    "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_TRACES_EXPORTER": "otlp",
                    # Soon, so that exports are under way while it is measured.
                    "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"})
        for gateway in gateways.values():
            await stack.enter_async_context(gateway)
        channels = {name: await stack.enter_async_context(gateway.channel())
                    for name, gateway in gateways.items()}
        stuck = gateways["log unread"]
        pipe = stuck.process.stop_reading()

        async def full():
            unread = -1
            for _ in range(20 if quick else 400):
                await asyncio.gather(
                    *(harness.get(channels["log unread"]) for _ in range(50)))
                before, unread = unread, in_pipe(pipe)
                # The lines of these calls are not in the pipe any more.
                if quick and unread == before > 16_384:
                    return True
                if (await stuck.metrics())["savepoint_gateway_log_lines_dropped_total"] > 0:
                    return True
            return False

        assert await full(), "the log is never full"
        await in_turn(channels, 50)
        times = await in_turn(channels, rounds)
        plain = times.pop("plain")
        figures = [no_slower(name, found, plain) for name, found in times.items()]
        dropped = (await stuck.metrics())["savepoint_gateway_log_lines_dropped_total"]
        for name in times:
            if name != "log unread":
                await harness.until(
                    functools.partial(lost_spans, gateways[name]), what=f"{name}: lost spans")
        # And then it is closed.
        pipe.close()
        await in_turn({"log closed": channels["log unread"]}, 50)
        assert stuck.process.running, "the gateway is gone"
        for gateway in gateways.values():
            assert gateway.panics == 0, "a panic"
    if not otlp:
        print("   skipped: this binary sends no traces, so no collector was tried", flush=True)
        figures.append("no collector tried: the binary sends no traces")
    return (f"{rounds} calls each, p50 and p99: plain {ms(quantile(plain, 0.5))} and "
            f"{ms(quantile(plain, 0.99))}, {', '.join(figures)}; {dropped:.0f} lines dropped")


async def lost_spans(gateway):
    """Whether the metrics count spans that did not reach the collector."""
    return any(value > 0 and name.startswith("otel_sdk_") and 'error_type="' in name
               and 'error_type=""' not in name
               for name, value in (await gateway.metrics()).items())


def in_pipe(pipe):
    """Bytes that were written and not read."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="below a minute, for CI")
    parser.add_argument("--only", help="these numbers, with commas between")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    parser.add_argument("--attack", nargs=2, metavar=("PORT", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        attack(int(options.attack[0]), float(options.attack[1]))
        return 0
    harness.end_in_order()
    only = {int(n) for n in options.only.split(",")} if options.only else None
    counts = collections.Counter()
    rows = ["| # | fault | must hold | result | measured |", "| --- | --- | --- | --- | --- |"]
    began_all, load = time.monotonic(), os.getloadavg()[0]
    for number, title, criterion, function in sorted(SCENARIOS, key=lambda s: s[0]):
        if only and number not in only:
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
        machine = f"{os.cpu_count()} processors, Linux, load average {load:.1f} before"
        harness.write_block("faults", [f"Measured {stamp} on {machine}: {total}.", "", *rows])
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
