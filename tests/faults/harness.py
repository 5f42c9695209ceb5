"""What the fault scenarios and the soak stand on: the real binary as a process, a provider that
can be made to misbehave, a TCP proxy that can be made to break, and callers that count."""

import asyncio
import collections
import contextlib
import os
import pathlib
import signal
import socket
import struct
import sys
import time

import grpc
import grpc.aio

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tools import gateway as launcher
from tools.gateway import EXAMPLE_CREDENTIALS, ROOT, SERVICE
from tools.page import replace_block

LONG = 30.0
# The preface of HTTP/2 and an empty SETTINGS frame.
H2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


# --- Protobuf messages, by hand: three fields do not need a generator.


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text_field(number, text):
    data = text.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def import_request(job_id=137228):
    return (
        text_field(1, "0605767b3300d5762fb7c0186d9e1779")
        + varint(2 << 3)
        + varint(job_id)
        + text_field(3, "obs://bucket-name/dir/savepoint/")
    )


def get_request(savepoint_id="88a8fc49-e090-430a-85d8-3ee8c79c0001"):
    return (
        text_field(1, "a14bd5d90a0001")
        + text_field(2, "default-namespace")
        + text_field(3, savepoint_id)
    )


class Started:
    """What `async with` starts and stops."""

    async def __aenter__(self):
        return await self.start()

    async def __aexit__(self, *_):
        await self.stop()


# --- The provider.


class Reply:
    """What the provider does with a request."""

    def __init__(self, status=200, body=b"{}", headers=(), delay=0.0, raw=None, then="keep"):
        self.status = status
        self.body = body
        self.headers = headers
        self.delay = delay
        # These bytes instead of a well-formed answer.
        self.raw = raw
        # keep, close, reset, or silence.
        self.then = then

    def bytes(self):
        if self.raw is not None:
            return self.raw
        head = f"HTTP/1.1 {self.status} X\r\ncontent-type: application/json\r\n"
        for name, value in self.headers:
            head += f"{name}: {value}\r\n"
        return f"{head}content-length: {len(self.body)}\r\n\r\n".encode() + self.body


IMPORTED = Reply(200, b'{"is_success":true,"message":"done"}')
GOT = Reply(200, b'{"requestId":"R-1","success":true,"data":{"savepointId":"s"}}')


def good(request, **behaviour):
    """The documented success; `behaviour` as of a Reply."""
    plain = IMPORTED if request.method == "POST" else GOT
    return Reply(plain.status, plain.body, **behaviour)


class Request:
    def __init__(self, method, path, head, body):
        self.method = method
        self.path = path
        self.head = head
        self.body = body

    def headers(self):
        """By name, in lower case."""
        return {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in self.head)
        }


class Cloud(Started):
    """An HTTP/1.1 server on loopback that answers by a function of the request."""

    def __init__(self, answer=good, host="127.0.0.1", port=0):
        self.answer = answer
        self.host = host
        self.requests = 0
        self.by_path = collections.Counter()
        self.connections = set()
        self.server = None
        self.port = port

    async def start(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: _Connection(self), self.host, self.port, backlog=4096
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        """Dies: the port is closed and every connection reset."""
        self.server.close()
        for connection in list(self.connections):
            connection.reset()
        await asyncio.sleep(0)

    def assert_imports_once(self):
        """Every import that came, came once. Returns how many there were."""
        imports = [n for (method, _), n in self.by_path.items() if method == "POST"]
        assert all(n == 1 for n in imports), "an import was sent twice"
        return len(imports)

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"


class _Connection(asyncio.Protocol):
    def __init__(self, cloud):
        self.cloud = cloud
        self.buffer = b""
        self.busy = False
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.cloud.connections.add(self)

    def connection_lost(self, _):
        self.cloud.connections.discard(self)

    def data_received(self, data):
        self.buffer += data
        if not self.busy:
            self.next()

    def reset(self):
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def next(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        length = 0
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        if len(self.buffer) < end + 4 + length:
            return
        method, path, _ = lines[0].split(" ", 2)
        request = Request(method, path, lines[1:], self.buffer[end + 4 : end + 4 + length])
        self.buffer = self.buffer[end + 4 + length :]
        self.cloud.requests += 1
        self.cloud.by_path[method, path] += 1
        reply = self.cloud.answer(request)
        self.busy = True
        if reply.delay:
            asyncio.get_running_loop().call_later(reply.delay, self.send, reply)
        else:
            self.send(reply)

    def send(self, reply):
        if self.transport.is_closing() or reply.then == "silence":
            return
        self.transport.write(reply.bytes())
        if reply.then == "close":
            self.transport.close()
        elif reply.then == "reset":
            # After the bytes had a chance to leave.
            asyncio.get_running_loop().call_soon(self.reset)
        else:
            self.busy = False
            if self.buffer:
                self.next()


class Proxy(Started):
    """A TCP proxy in front of a provider. While it is frozen, bytes vanish without a word, as
    behind a firewall that forgot the connection."""

    def __init__(self, port):
        self.target = port
        self.frozen = set()
        self.links = set()
        self.accepted = 0
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.link, "127.0.0.1", 0)
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def freeze(self):
        """Every connection that exists goes dead; new ones work."""
        self.frozen = set(self.links)

    async def link(self, reader, writer):
        self.accepted += 1
        with contextlib.suppress(asyncio.CancelledError):
            await self.pass_on(reader, writer)

    async def pass_on(self, reader, writer):
        me = object()
        self.links.add(me)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return

        async def pump(source, sink):
            while data := await source.read(65536):
                if me not in self.frozen:
                    sink.write(data)
                    await sink.drain()
            if me not in self.frozen:
                sink.close()

        pumps = [asyncio.ensure_future(pump(reader, up_writer)),
                 asyncio.ensure_future(pump(up_reader, writer))]
        await asyncio.gather(*pumps, return_exceptions=True)
        self.links.discard(me)
        for end in (writer, up_writer):
            end.close()

    async def stop(self):
        self.server.close()


# --- The gateway.


class Gateway(Started):
    """`serve` in front of a provider; what takes time is awaited."""

    def __init__(self, cloud_url, *flags, env=(), **options):
        self.panics = 0
        # What the log says that is not of one call.
        self.events = []
        self.process = launcher.Gateway(
            "serve", "--huawei-endpoint", cloud_url, "--alibaba-endpoint", cloud_url, *flags,
            environment=EXAMPLE_CREDENTIALS | dict(env), on_line=self._take, **options)

    def _take(self, line):
        if "panicked" in line:
            self.panics += 1
        if '"method":' not in line:
            self.events.append(line)

    async def start(self):
        self.process.launch()
        try:
            await asyncio.to_thread(self.process.wait_ready)
        except BaseException:
            await self.stop()
            raise
        return self

    @property
    def address(self):
        return self.process.address

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def channel(self, tls=None, address=None):
        # A connection of its own for each channel, as separate callers have. For a Unix socket
        # this client would send the path as the authority, which HTTP/2 servers refuse.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.default_authority", "localhost")]
        address = address or self.address
        if tls is None:
            return grpc.aio.insecure_channel(address, options=options)
        options.append(("grpc.ssl_target_name_override", "localhost"))
        return grpc.aio.secure_channel(address, tls, options=options)

    def sample(self):
        """RSS in bytes, threads and open file descriptors."""
        process = self.process
        fds = len(os.listdir(f"/proc/{process.pid}/fd"))
        return process.rss(), process.status("Threads"), fds

    async def http(self, path):
        return await asyncio.to_thread(self.process.get, path, LONG)

    async def is_ready(self):
        return (await self.http("/readyz"))[0] == 200

    async def is_draining(self):
        return (await self.http("/readyz"))[0] == 503

    async def metrics(self):
        return await asyncio.to_thread(self.process.metrics)

    def signal(self, number):
        self.process.signal(number)

    async def ended(self, within=LONG):
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), within)

    async def stop(self):
        if self.process.running:
            self.signal(signal.SIGKILL)
            await self.ended()


# --- The callers.


CAMEL = {code: "".join(w.capitalize() for w in code.name.split("_")) for code in grpc.StatusCode}
CAMEL[grpc.StatusCode.OK] = "OK"


async def call(
    channel, method, request, timeout=LONG, wait_for_ready=False, service=SERVICE
):
    """One call: its code as metrics spell it, how long it took, and its trailers."""
    invoke = channel.unary_unary(f"/{service}/{method}")
    began = time.monotonic()
    try:
        await invoke(request, timeout=timeout, wait_for_ready=wait_for_ready)
        return "OK", time.monotonic() - began, {}
    except grpc.aio.AioRpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        trailers[":message"] = error.details()
        return CAMEL[error.code()], time.monotonic() - began, trailers


async def get(channel, savepoint_id="88a8fc49-e090-430a-85d8-3ee8c79c0001", **options):
    return await call(channel, "GetSavepoint", get_request(savepoint_id), **options)


async def put(channel, job_id=137228, **options):
    return await call(channel, "ImportSavepoint", import_request(job_id), **options)


async def at_rate(rate, seconds, one, stop=None):
    """Starts calls at a fixed rate, regardless of the results of earlier ones; their results."""
    tasks, began = [], time.monotonic()
    for index in range(int(rate * seconds)):
        wait = began + index / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        if stop is not None and stop.is_set():
            break
        tasks.append(asyncio.ensure_future(one(index)))
    return await asyncio.gather(*tasks)


class Callers:
    """Calls at a steady rate over a few channels, half of them imports, while a block runs.
    Channels can be replaced meanwhile, each after its calls have ended."""

    def __init__(self, rate, make_channel, channels=8, timeout=20.0):
        self.rate = rate
        self.make_channel = make_channel
        self.timeout = timeout
        self.channels = [make_channel() for _ in range(channels)]
        self.in_use = collections.Counter()
        self.calls = 0
        self.codes = collections.Counter()
        self.longest = 0.0
        self.failures = []
        self.tasks = set()
        self.began = self.ended = 0.0

    async def one(self, index):
        channel = self.channels[index // 2 % len(self.channels)]
        self.in_use[channel] += 1
        kind = get if index % 2 else put
        code, took, trailers = await kind(channel, timeout=self.timeout)
        self.in_use[channel] -= 1
        self.codes[code] += 1
        self.longest = max(self.longest, took)
        if code != "OK":
            self.failures.append(f"{kind.__name__} {code}: {trailers[':message']}")

    async def run(self):
        while True:
            wait = self.began + self.calls / self.rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            elif self.calls % 20 == 0:
                # Behind its time: others must run, too.
                await asyncio.sleep(0)
            task = asyncio.ensure_future(self.one(self.calls))
            self.calls += 1
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def replace(self, index):
        """Puts a new channel in the place of this one."""
        old, self.channels[index] = self.channels[index], self.make_channel()
        await until(lambda: not self.in_use[old], what="the calls of a channel end")
        del self.in_use[old]
        await old.close()

    def end(self):
        """Begins no more calls."""
        self.running.cancel()
        self.ended = time.monotonic()

    async def __aenter__(self):
        self.began = time.monotonic()
        self.running = asyncio.ensure_future(self.run())
        return self

    async def __aexit__(self, *_):
        if not self.ended:
            self.end()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for channel in self.channels:
            await channel.close()

    @property
    def achieved(self):
        """Calls begun per second: less than the rate when this program cannot keep up."""
        return self.calls / (self.ended - self.began)

    def assert_none_failed(self):
        assert not self.failures, f"{len(self.failures)} of {self.calls}: {self.failures[:3]}"
        assert self.codes == {"OK": self.calls}, f"{self.calls} calls, {self.codes}"


@contextlib.asynccontextmanager
async def own_lag():
    """How late this program itself is at most, which is no fault of the gateway's."""
    worst = [0.0]

    async def watch():
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            worst[0] = max(worst[0], time.monotonic() - began - 0.01)

    watching = asyncio.ensure_future(watch())
    try:
        yield worst
    finally:
        watching.cancel()


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else 0.0


async def until(condition, within=LONG, what="the condition"):
    end = time.monotonic() + within
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        await asyncio.sleep(0.02)


def end_in_order():
    """Makes SIGTERM end this program as Ctrl-C does, so that it ends what it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def write_block(name, lines):
    replace_block(ROOT / "docs/reliability.md", name, "\n".join(lines))
