#!/usr/bin/env python3
"""Faults 8 and 9: the provider's name gets a new address, and the name server goes away.

They run in a network and mount namespace of their own, with a name server on port 53 of its
loopback, so that the gateway resolves names as it does everywhere, through the C library."""

import asyncio
import json
import os
import pathlib
import shutil
import socket
import struct
import sys
import tempfile
import time

import harness
from harness import Callers, Cloud, Gateway, Started, good
from scenario import Skip, ms, scenario

NAME = "provider.test"
OLD, NEW = "127.0.0.2", "127.0.0.3"
# As in the criterion: of a record that lives for a second, callers hear within a minute.
MOVED_WITHIN = 60


class NameServer(Started, asyncio.DatagramProtocol):
    """Knows one name. Silent, it takes questions and answers none."""

    def __init__(self, address):
        self.address = address
        self.silent = False
        self.asked = 0
        self.transport = None

    async def start(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 53))
        return self

    async def stop(self):
        self.transport.close()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        self.asked += 1
        if self.silent:
            return
        end = data.index(b"\0", 12) + 5
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        kind = struct.unpack(">H", data[at + 1 : at + 3])[0]
        known = ".".join(labels).lower() == NAME
        answers = b""
        if known and kind == 1:
            # An A record of the name at offset 12, for one second.
            answers = struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(self.address)
        head = struct.pack(">HHHHHH", struct.unpack(">H", data[:2])[0],
                           0x8180 if known else 0x8183, 1, 1 if answers else 0, 0, 0)
        self.transport.sendto(head + data[12:end] + answers, peer)


async def inside(number, quick):
    """Runs this file in namespaces of its own, and returns what it measured there."""
    for tool in ("unshare", "ip", "mount"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not here")
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "resolv.conf").write_text("nameserver 127.0.0.1\n")
        pathlib.Path(folder, "nsswitch.conf").write_text("hosts: files dns\n")
        script = """
            set -e
            ip link set lo up
            for file in resolv.conf nsswitch.conf; do
                if [ -e "/etc/$file" ]; then mount --bind "$1/$file" "/etc/$file"; fi
            done
            grep -q "nameserver 127.0.0.1" /etc/resolv.conf
            echo inside
            exec "$2" "$3" "$4" "$5"
        """
        user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
        process = await asyncio.create_subprocess_exec(
            "unshare", "--net", "--mount", *user, "sh", "-c", script, "sh", folder,
            sys.executable, __file__, str(number), str(int(quick)),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        try:
            out, err = await asyncio.wait_for(process.communicate(), 200)
        finally:
            if process.returncode is None:
                # Not killed: it has processes of its own to end.
                process.terminate()
                await process.wait()
    lines = out.decode().splitlines()
    if process.returncode == 0:
        return json.loads(lines[-1])
    reason = (err.decode(errors="replace").strip().splitlines() or ["no word"])[-1]
    if "inside" not in lines:
        raise Skip(f"the machine allows no namespaces: {reason}")
    raise AssertionError(reason)


@scenario(8, "the provider's name gets a new address",
          "connections that are made from then on go there; within 60 s all calls do, once the "
          "old address closes what is open; no call fails")
async def moved(quick):
    return await inside(8, quick)


@scenario(9, "the name server does not answer for 60 s, then is gone",
          "open connections go on working; without one a call ends with UNAVAILABLE within its "
          "attempts; OK again within 2 s of its return")
async def unnamed(quick):
    return await inside(9, quick)


async def moved_inside(quick):
    came = {OLD: 0, NEW: 0}

    def answering(address):
        def answer(request):
            came[address] += 1
            # Long enough that calls at the same time need connections of their own.
            return good(request, delay=0.05)
        return answer

    async with (NameServer(OLD) as names, Cloud(answering(OLD), host=OLD) as old,
                Cloud(answering(NEW), host=NEW, port=old.port),
                Gateway(f"http://{NAME}:{old.port}", "--allow-insecure-endpoints") as gateway):
        async with Callers(50, gateway.channel) as callers:
            some = 20 if quick else 100
            await harness.until(lambda: came[OLD] > some, what="calls at the old address")
            assert came[NEW] == 0, came
            names.address = NEW
            began = time.monotonic()
            # More at once than there are connections.
            async with gateway.channel() as channel:
                burst = await asyncio.gather(*(harness.get(channel) for _ in range(50)))
            assert all(code == "OK" for code, _, _ in burst), burst
            first = time.monotonic() - began
            assert came[NEW] > 0, "new connections go to the new address"
            # How much goes there while the old address serves on as if nothing were.
            seen = dict(came)
            await asyncio.sleep(1 if quick else 20)
            to_old, to_new = came[OLD] - seen[OLD], came[NEW] - seen[NEW]
            share = to_new / (to_old + to_new)
            # Whoever moves a service closes its idle connections in the end.
            for connection in list(old.connections):
                await harness.until(lambda c=connection: not c.busy or c.transport.is_closing())
                connection.transport.close()
            seen = dict(came)
            began = time.monotonic()
            await harness.until(
                lambda: came[NEW] > seen[NEW] + some, MOVED_WITHIN, "all calls move")
            took = time.monotonic() - began
            late = came[OLD] - seen[OLD]
        callers.assert_none_failed()
        assert late == 0, f"{late} requests at the old address after it closed its connections"
        return (f"{callers.calls + 50} calls, none failed; the first new connection went to the "
                f"new address within {ms(first)}; {100 * share:.0f} % of calls went there while "
                f"the old one served on, all within {took:.1f} s of its closing")


async def unnamed_inside(quick):
    timeout = 0.3 if quick else 1.0
    flags = ("--allow-insecure-endpoints", "--connect-timeout", f"{1000 * timeout:.0f}ms")
    async with (NameServer(OLD) as names, Cloud(host=OLD) as cloud,
                Gateway(f"http://{NAME}:{cloud.port}", *flags) as warm,
                Gateway(f"http://{NAME}:{cloud.port}", *flags) as cold):
        threads = 0

        async def without_a_connection():
            """A get and an import, over a gateway that has no connection to the provider."""
            nonlocal threads
            longest = 0.0
            async with cold.channel() as channel:
                for kind in (harness.get, harness.put):
                    code, took, trailers = await kind(channel, timeout=20.0)
                    assert code == "Unavailable", f"{kind.__name__}: {code}"
                    assert b"PROVIDER_CONNECT_FAILED" in trailers["grpc-status-details-bin"]
                    longest = max(longest, took)
            threads = max(threads, cold.sample()[1])
            return longest

        async with harness.own_lag() as lag, Callers(20, warm.channel) as callers:
            await harness.until(lambda: callers.codes["OK"] > 40, what="connections stand")
            names.silent = True
            down = time.monotonic()
            silent = await without_a_connection()
            while time.monotonic() < down + (0 if quick else 60):
                silent = max(silent, await without_a_connection())
            await names.stop()
            await asyncio.sleep(0)
            refused = await without_a_connection()
            names.silent = False
            await names.start()
            began = time.monotonic()
            async with cold.channel() as channel:
                code, _, _ = await harness.get(channel, timeout=20.0)
            back = time.monotonic() - began
            assert code == "OK", f"after its return: {code}"
        callers.assert_none_failed()
        # Three attempts, and two pauses of less than a second.
        assert silent < 3 * timeout + 2 + 2 * lag[0], f"UNAVAILABLE after {silent:.1f} s"
        assert refused < 3 + 2 * lag[0], f"UNAVAILABLE after {refused:.1f} s"
        assert back < 2 + 2 * lag[0], f"OK after {back:.1f} s"
        return (f"{callers.calls} calls over open connections, none failed; without one "
                f"UNAVAILABLE after {silent:.1f} s at most while it was silent (connect timeout "
                f"{ms(timeout)}, three attempts), {ms(refused)} when it was gone; OK {ms(back)} "
                f"after its return; {threads} threads at most")


if __name__ == "__main__":
    harness.end_in_order()
    run = {"8": moved_inside, "9": unnamed_inside}[sys.argv[1]]
    print(json.dumps(asyncio.run(run(sys.argv[2] == "1"))))
