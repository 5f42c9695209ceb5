"""A fake REST endpoint on loopback that judges and keeps every request it gets."""

from __future__ import annotations

import itertools
import json
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from socketserver import StreamRequestHandler

from tools import web
from wire import Malformed, Message, read_message

# Both vendors allow this much between the date of a request and their own clock.
MAX_CLOCK_SKEW_SECONDS = 15 * 60


@dataclass(frozen=True)
class Key:
    """What the endpoint knows of one access key."""

    secret: str
    token: str | None = None


@dataclass(frozen=True)
class Answer:
    status: int
    body: object


@dataclass(frozen=True)
class Exchange:
    """One request with everything that is wrong with it, and the answer it got."""

    request_id: str
    request: Message
    faults: tuple[str, ...]
    answer: Answer


class Endpoint(web.Server, ABC):
    """Every fault is an error answer, so that a call cannot be OK
    although its request was not exactly right."""

    request_id_header: str

    def __init__(self, keys: dict[str, Key]) -> None:
        self.keys = keys
        self._exchanges: list[Exchange] = []
        self._by_request_id: dict[str, Exchange] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        super().__init__(self._handler())
        # A relay in front of the endpoint is addressed by its own name.
        self.authorities = {self.authority}

    @abstractmethod
    def judge(self, request: Message, request_id: str) -> tuple[list[str], Answer]:
        """Everything that is wrong with the request, and what a cloud would answer."""

    @property
    def count(self) -> int:
        with self._lock:
            return len(self._exchanges)

    def since(self, start: int) -> list[Exchange]:
        with self._lock:
            return self._exchanges[start:]

    def by_request_id(self, request_id: str) -> Exchange | None:
        with self._lock:
            return self._by_request_id.get(request_id)

    def _take(self, request: Message, wire_fault: str | None) -> Exchange:
        with self._lock:
            request_id = f"cross-check-{next(self._ids):08d}"
        if wire_fault is None:
            faults, answer = self.judge(request, request_id)
        else:
            faults, answer = (
                [wire_fault],
                Answer(400, {"error_code": "WIRE", "error_msg": wire_fault}),
            )
        exchange = Exchange(request_id, request, tuple(faults), answer)
        with self._lock:
            self._exchanges.append(exchange)
            self._by_request_id[request_id] = exchange
        return exchange

    def _handler(self) -> type[StreamRequestHandler]:
        endpoint = self

        class Handler(StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                while True:
                    try:
                        request, fault = read_message(self.rfile), None
                    except Malformed as error:
                        request, fault = Message("", (), b"", error.raw), str(error)
                    except ConnectionError:
                        return
                    if request is None:
                        return
                    exchange = endpoint._take(request, fault)
                    body = json.dumps(exchange.answer.body, ensure_ascii=False).encode()
                    head = (
                        f"HTTP/1.1 {exchange.answer.status} Answer\r\n"
                        "Content-Type: application/json;charset=UTF-8\r\n"
                        f"{endpoint.request_id_header}: {exchange.request_id}\r\n"
                        f"Content-Length: {len(body)}\r\n"
                    )
                    if fault is not None:
                        head += "Connection: close\r\n"
                    try:
                        self.wfile.write(head.encode() + b"\r\n" + body)
                    except ConnectionError:
                        return
                    if fault is not None:
                        return

        return Handler


def far_off(date: str, form: str) -> bool:
    """Whether a date is too far from this clock; ValueError when it is not of the form."""
    skew = datetime.strptime(date, form).replace(tzinfo=UTC) - datetime.now(UTC)
    return abs(skew.total_seconds()) > MAX_CLOCK_SKEW_SECONDS


def common_faults(request: Message, authorities: set[str], allowed: frozenset[str]) -> list[str]:
    """The rules that hold for both vendors."""
    faults = []
    if not request.start_line.endswith(" HTTP/1.1"):
        faults.append(f"not HTTP/1.1: {request.start_line!r}")
    hosts = request.values("host")
    if len(hosts) != 1 or hosts[0] not in authorities:
        faults.append(f"Host {hosts}, not one of {sorted(authorities)}")
    names = [name.lower() for name, _ in request.headers]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            faults.append(f"header {name} more than once")
        # A list of what may pass, since what must not leak has no end.
        if name not in allowed:
            faults.append(f"header {name} has no business here")
    agent = request.value("user-agent")
    if agent is not None and not agent.startswith("savepoint-gateway/"):
        faults.append(f"User-Agent {agent!r}")
    if request.value("connection") not in (None, "keep-alive"):
        faults.append(f"Connection {request.value('connection')!r}")
    return faults
