"""HTTP/1.1 as it is on the wire: read strictly, byte for byte, nothing repaired.

http.server and http.client forgive too much for a check of exact bytes: they fold
headers, collapse slashes and decode as Latin-1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BufferedIOBase

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Malformed(Exception):
    """Bytes that are not an HTTP/1.1 message with a length known in advance."""

    def __init__(self, why: str, raw: bytes) -> None:
        super().__init__(why)
        self.raw = raw


@dataclass(frozen=True)
class Message:
    """A request or a response."""

    start_line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    def values(self, name: str) -> list[str]:
        """All values of a header; more than one is for the caller to judge."""
        return [value for key, value in self.headers if key.lower() == name]

    def value(self, name: str) -> str | None:
        values = self.values(name)
        return values[0] if len(values) == 1 else None


def read_message(stream: BufferedIOBase) -> Message | None:
    """The next message, or None when the peer closed before its first byte."""
    raw = bytearray()
    lines: list[bytes] = []
    while True:
        line = stream.readline(MAX_HEAD)
        raw += line
        if not line and not raw:
            return None
        if not line.endswith(b"\r\n"):
            raise Malformed("a line of the head does not end with CR LF", bytes(raw))
        if len(raw) > MAX_HEAD:
            raise Malformed("the head is too large", bytes(raw))
        if line == b"\r\n":
            break
        lines.append(line[:-2])
    if not lines:
        raise Malformed("no start line", bytes(raw))

    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Malformed(f"not a header line: {line!r}", bytes(raw))
        try:
            headers.append((name.decode("ascii"), value.strip(b" \t").decode("utf-8")))
        except UnicodeDecodeError as error:
            raise Malformed(f"header {name!r} is not UTF-8", bytes(raw)) from error

    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        raise Malformed("Transfer-Encoding instead of a length", bytes(raw))
    if len(lengths) > 1 or not all(re.fullmatch(r"[0-9]{1,7}", length) for length in lengths):
        raise Malformed(f"Content-Length {lengths}", bytes(raw))
    length = int(lengths[0]) if lengths else 0
    if length > MAX_BODY:
        raise Malformed("the body is too large", bytes(raw))
    body = stream.read(length) if length else b""
    raw += body
    if len(body) != length:
        raise Malformed("the body is cut short", bytes(raw))
    return Message(lines[0].decode("latin-1"), tuple(headers), body, bytes(raw))
