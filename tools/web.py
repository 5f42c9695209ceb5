"""HTTP on loopback: one request, and servers that run in a thread."""

from __future__ import annotations

import http.client
import http.server
import socketserver
import threading

SECONDS = 10


def get(address: str, path: str, seconds: float = SECONDS) -> tuple[int, str]:
    """Status and body. Not urllib, which would ask a proxy that the environment names."""
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request("GET", path, headers={"connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a request with one body, and logs nothing."""

    def answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    """Takes connections on loopback from the moment that it exists until close()."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, handler: type[socketserver.BaseRequestHandler], port: int = 0):
        super().__init__(("127.0.0.1", port), handler)
        self.authority = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.authority}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def __exit__(self, *_: object) -> None:
        self.close()
