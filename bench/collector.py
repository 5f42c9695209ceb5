"""An OTLP collector over HTTP that counts spans and keeps none.

python3 bench/collector.py PORT
"""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import Process
from tools import web
from tools.process import free_port

# Fields of ExportTraceServiceRequest down to its spans: resource_spans, scope_spans, spans.
# https://github.com/open-telemetry/opentelemetry-proto/blob/v1.7.0/opentelemetry/proto/trace/v1/trace.proto
PATH_TO_SPANS = (1, 2, 2)
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            _, at = _varint(data, at)
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if size is None:
            if kind != BYTES:
                raise ValueError(f"no such wire type: {kind}")
            size, at = _varint(data, at)
        if kind == BYTES and key >> 3 == wanted:
            yield data[at : at + size]
        at += size


def count_spans(data: memoryview, path: tuple[int, ...] = PATH_TO_SPANS) -> int:
    inner = list(_messages(data, path[0]))
    return len(inner) if len(path) == 1 else sum(count_spans(one, path[1:]) for one in inner)


class _Handler(web.Handler):
    protocol_version = "HTTP/1.1"
    spans = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        _Handler.spans += count_spans(memoryview(body))
        self.answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        self.answer(str(_Handler.spans).encode(), "text/plain")


class Collector(Process):
    """A collector in a process of its own."""

    def __init__(self, folder: Path, cores: frozenset[int]):
        self.port = free_port()
        command = [sys.executable, __file__, str(self.port)]
        super().__init__("collector", command, cores=cores, log=folder / "collector.log")

    def spans(self) -> int:
        """How many spans it was given."""
        return int(web.get(f"127.0.0.1:{self.port}", "/")[1])


if __name__ == "__main__":
    web.Server(_Handler, int(sys.argv[1]))
    threading.Event().wait()
