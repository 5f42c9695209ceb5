"""Opens HTTP/2 connections and keeps them idle."""

import contextlib
import select
import socket
import struct
import time

from machine import BenchError, Process

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 0x4, 0x6, 0x7
ACK = 0x1
BATCH = 200


def _frame(kind: int, flags: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, 0) + payload


class Connection:
    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(PREFACE + _frame(SETTINGS, 0))
        self.socket.setblocking(False)
        self.greeted = False
        self._unread = b""

    def read(self) -> None:
        """Answer what HTTP/2 obliges to answer: SETTINGS and PING."""
        received = self.socket.recv(65536)
        if not received:
            raise BenchError("the server closed an idle connection")
        self._unread += received
        while len(self._unread) >= 9:
            size = int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < 9 + size:
                return
            kind, flags = self._unread[3], self._unread[4]
            payload, self._unread = self._unread[9 : 9 + size], self._unread[9 + size :]
            if kind == GOAWAY:
                raise BenchError("the server sent GOAWAY to an idle connection")
            if kind == SETTINGS and not flags & ACK:
                self.greeted = True
                self.socket.sendall(_frame(SETTINGS, ACK))
            elif kind == PING and not flags & ACK:
                self.socket.sendall(_frame(PING, ACK, payload))


def _read_ready(poll: select.epoll, connections: dict[int, Connection], wait: float) -> None:
    for file, _events in poll.poll(wait):
        connections[file].read()


@contextlib.contextmanager
def open_connections(server: Process, port: int, count: int, *, timeout: float = 60):
    """Hold that many connections open, each past the exchange of SETTINGS; yields what serves them for a while."""
    limit = time.monotonic() + timeout
    connections: dict[int, Connection] = {}
    poll = select.epoll()
    try:
        while len(connections) < count:
            for _ in range(min(BATCH, count - len(connections))):
                connection = Connection(port)
                connections[connection.socket.fileno()] = connection
                poll.register(connection.socket, select.EPOLLIN)
            _read_ready(poll, connections, 0)
            server.require_alive()
            if time.monotonic() > limit:
                raise BenchError(f"{len(connections)} of {count} connections opened within {timeout:.0f} s")
        while not all(connection.greeted for connection in connections.values()):
            _read_ready(poll, connections, 0.1)
            server.require_alive()
            if time.monotonic() > limit:
                waiting = sum(not connection.greeted for connection in connections.values())
                raise BenchError(f"{waiting} of {count} connections got no SETTINGS within {timeout:.0f} s")

        def serve(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                _read_ready(poll, connections, left)

        yield serve
    finally:
        poll.close()
        for connection in connections.values():
            connection.socket.close()
