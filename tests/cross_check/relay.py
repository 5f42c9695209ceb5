"""A relay between gateway and endpoint that can change what passes: the man in the middle."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from socketserver import StreamRequestHandler, ThreadingTCPServer

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


class Relay:
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

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.authority = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.authority}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Trap:
    """Listens where nobody has any reason to connect, and counts who does."""

    def __init__(self) -> None:
        self.connections = 0
        trap = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                trap.connections += 1

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
