"""Callers that watch savepoints: raw HTTP/2, since ten thousand streams would fill a core of any gRPC library."""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable

from machine import BenchError, Process

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0x0, 0x1, 0x4, 0x6, 0x7, 0x8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
STREAMS = 250
METHOD = "/savepoint.v1.SavepointService/WatchSavepoint"
#: The namespace whose savepoints the upstream reads from a file that a measurement replaces.
NAMESPACE = "watched"


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header field without indexing and without Huffman coding (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def _headers() -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": METHOD,
        ":authority": "bench",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(_literal(name, value) for name, value in fields.items())


def _request(savepoint: str) -> bytes:
    fields = b"".join(
        bytes([number << 3 | 2, len(text)]) + text.encode() for number, text in ((2, NAMESPACE), (3, savepoint))
    )
    return b"\0" + struct.pack(">I", len(fields)) + fields


class _Connection:
    def __init__(self, port: int, savepoints: list[str]):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        window = struct.pack(">HI", 0x4, 2**31 - 1)
        begin = PREFACE + _frame(SETTINGS, 0, 0, window) + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30))
        headers = _headers()
        for index, savepoint in enumerate(savepoints):
            stream = 2 * index + 1
            begin += _frame(HEADERS, END_HEADERS, stream, headers)
            begin += _frame(DATA, END_STREAM, stream, _request(savepoint))
        self.socket.sendall(begin)
        self.socket.setblocking(False)
        self.messages = dict.fromkeys(range(1, 2 * len(savepoints), 2), 0)
        self.ended: set[int] = set()
        self._unread = b""

    def read(self) -> None:
        received = self.socket.recv(262144)
        if not received:
            raise BenchError("the gateway closed a connection with watches")
        self._unread += received
        while len(self._unread) >= 9:
            size = int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < 9 + size:
                return
            kind, flags = self._unread[3], self._unread[4]
            stream = int.from_bytes(self._unread[5:9], "big")
            payload, self._unread = self._unread[9 : 9 + size], self._unread[9 + size :]
            if kind == GOAWAY:
                raise BenchError("the gateway sent GOAWAY to a connection with watches")
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(_frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.socket.sendall(_frame(PING, ACK, 0, payload))
            elif kind == DATA and size:
                self.messages[stream] += 1
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.ended.add(stream)


class Watchers:
    def __init__(self, server: Process, port: int, count: int, savepoints: int):
        self._server = server
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        names = [f"savepoint-{index % savepoints}" for index in range(count)]
        for start in range(0, count, STREAMS):
            connection = _Connection(port, names[start : start + STREAMS])
            self._connections[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLIN)

    def close(self) -> None:
        self._poll.close()
        for connection in self._connections.values():
            connection.socket.close()

    def serve(self, seconds: float) -> None:
        """Read what comes for a while."""
        self._until(lambda: False, seconds)

    def messages(self) -> int:
        return sum(sum(connection.messages.values()) for connection in self._connections.values())

    def all_told(self, *, timeout: float) -> float:
        """Seconds until every watch has had its first message."""
        return self._require(lambda one: all(one.messages.values()), "had no message", timeout)

    def all_ended(self, *, timeout: float) -> float:
        """Seconds until every watch has ended."""
        return self._require(lambda one: len(one.ended) == len(one.messages), "did not end", timeout)

    def _require(self, holds: Callable[[_Connection], bool], what: str, timeout: float) -> float:
        begun = time.monotonic()
        waiting = list(self._connections.values())

        def done() -> bool:
            waiting[:] = [connection for connection in waiting if not holds(connection)]
            return not waiting

        if not self._until(done, timeout):
            raise BenchError(f"watches of {len(waiting)} connections {what} within {timeout:.0f} s")
        return time.monotonic() - begun

    def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            if done():
                return True
            for file, _events in self._poll.poll(min(left, 0.2)):
                self._connections[file].read()
            self._server.require_alive()
        return done()


@contextlib.contextmanager
def watching(server: Process, port: int, count: int, savepoints: int):
    watchers = Watchers(server, port, count, savepoints)
    try:
        yield watchers
    finally:
        watchers.close()
