"""A lossy, slow path, emulated on TCP streams.

No packet is lost here: loopback loses none, and not every kernel can be made to. What is done
instead is what loss does to those who read a stream: everything from the lost segment on arrives
late, by a retransmission timeout that doubles with each further loss. Fast retransmission, which
needs more segments under way than these calls send, is left out, and so is congestion control:
calls of one segment each way do not come to feel it."""

import asyncio
import contextlib
import random
import time

from harness import Started

# What fits into a packet of 1,500 bytes.
SEGMENT = 1448
# For a segment of data (RFC 6298, with Linux's least variation of 200 ms on top of the round
# trip), and for the first one of a connection.
DATA_TIMEOUT = 0.3
SYN_TIMEOUT = 1.0


class LossyPath(Started):
    def __init__(self, port, delay, loss, chance):
        self.target = port
        self.delay = delay
        self.loss = loss
        self.chance = chance
        self.segments = self.lost = 0
        # The most that one segment was late because of losses.
        self.longest = 0.0
        self.links = set()
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.link, "127.0.0.1", 0)
        return self

    @property
    def address(self):
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def stop(self):
        self.server.close()
        for task in list(self.links):
            task.cancel()
        await asyncio.gather(*self.links, return_exceptions=True)

    def stall(self, timeout):
        """How much later a segment arrives because of losses."""
        self.segments += 1
        late = 0.0
        while self.chance.random() < self.loss:
            self.lost += 1
            late += timeout
            timeout *= 2
        self.longest = max(self.longest, late)
        return late

    async def link(self, reader, writer):
        task = asyncio.current_task()
        self.links.add(task)
        try:
            # SYN and SYN-ACK.
            await asyncio.sleep(2 * self.delay + self.stall(SYN_TIMEOUT) + self.stall(SYN_TIMEOUT))
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self.pump(reader, far_writer))
                    pumps.create_task(self.pump(far_reader, writer))
            finally:
                far_writer.close()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.links.discard(task)

    async def pump(self, source, sink):
        under_way = asyncio.Queue()

        async def deliver():
            while True:
                due, data = await under_way.get()
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not data:
                    with contextlib.suppress(OSError):
                        sink.write_eof()
                    return
                sink.write(data)
                await sink.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(deliver())
            due = 0.0
            while True:
                data = await source.read(SEGMENT)
                # A stream is in order: what follows a late segment is as late.
                due = max(due, time.monotonic() + self.delay + self.stall(DATA_TIMEOUT))
                under_way.put_nowait((due, data))
                if not data:
                    return


def path(port, loss=0.05, round_trip=0.1, seed=1):
    return LossyPath(port, round_trip / 2, loss, random.Random(seed))
