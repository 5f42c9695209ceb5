"""A relay between gateway and endpoint that can change what passes: the man in the middle."""

from __future__ import annotations

import socket
from collections.abc import Callable
from socketserver import StreamRequestHandler

from tools import web
from wire import Malformed, read_message

Change = Callable[[bytes], bytes]


def unchanged(raw: bytes) -> bytes:
    return raw


def flip_body_byte(raw: bytes) -> bytes:
    """Flips one bit in the middle of the body; the head, its length included, stays."""
    start = raw.index(b"\r\n\r\n") + 4
    at = start + (len(raw) - start) // 2
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def flip_last_path_byte(raw: bytes) -> bytes:
    """Flips one bit in the last byte of the request target."""
    at = raw.index(b" HTTP/1.1\r\n") - 1
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def flip_last_byte_of(header: bytes) -> Change:
    """Flips one bit in the last byte of a header's value."""

    def change(raw: bytes) -> bytes:
        start = raw.lower().index(b"\r\n" + header + b":")
        at = raw.index(b"\r\n", start + 2) - 1
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    return change


class Relay(web.Server):
    """Passes requests on to `authority`, each through `change`."""

    def __init__(self, authority: str) -> None:
        host, _, port = authority.rpartition(":")
        target = (host, int(port))
        self.change: Change = unchanged
        relay = self

        class Handler(StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                with socket.create_connection(target, timeout=30) as onward:
                    answers = onward.makefile("rb")
                    while True:
                        try:
                            request = read_message(self.rfile)
                            if request is None:
                                return
                            onward.sendall(relay.change(request.raw))
                            answer = read_message(answers)
                            if answer is None:
                                return
                            self.wfile.write(answer.raw)
                        except (Malformed, ConnectionError):
                            return

        super().__init__(Handler)


class Trap(web.Server):
    """Listens where nobody has any reason to connect, and counts who does."""

    def __init__(self) -> None:
        self.connections = 0
        trap = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                trap.connections += 1

        super().__init__(Handler)
