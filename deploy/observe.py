"""What deploy/observe runs: gateways, traffic and Prometheus, and their numbers on the terminal and
on a page. See there."""

import argparse
import math
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "check"))

import draw
import panels
from stack import Stack
from tools import web

SCRAPE = "2s"
PAGE = """<!doctype html><meta charset="utf-8"><title>savepoint-gateway</title>
<meta http-equiv="refresh" content="5"><style>body{margin:0;background:#f4f5f7}svg{width:100%;height:auto}</style>"""

SAVEPOINT = 'grpc_service=~"savepoint[.].+"'
COLUMNS = [
    ("imports/s", f'sum(rate(grpc_server_handled_total{{{SAVEPOINT},grpc_method="ImportSavepoint"}}[10s]))', "reqps"),
    ("gets/s", f'sum(rate(grpc_server_handled_total{{{SAVEPOINT},grpc_method="GetSavepoint"}}[10s]))', "reqps"),
    ("not OK", f'sum(rate(grpc_server_handled_total{{{SAVEPOINT},grpc_code!="OK"}}[10s])) / sum(rate(grpc_server_handled_total{{{SAVEPOINT}}}[10s]))', "percentunit"),
    ("p50", f"histogram_quantile(0.5, sum by (le) (rate(grpc_server_handling_seconds_bucket{{{SAVEPOINT}}}[10s])))", "s"),
    ("p99", f"histogram_quantile(0.99, sum by (le) (rate(grpc_server_handling_seconds_bucket{{{SAVEPOINT}}}[10s])))", "s"),
    ("retries", "sum(savepoint_gateway_upstream_retries_total)", "short"),
    ("refused", "sum(savepoint_gateway_upstream_shed_total)", "short"),
    ("in flight", "sum(savepoint_gateway_upstream_in_flight)", "short"),
    ("alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', "short"),
]  # fmt: skip


def row(prometheus: str) -> str:
    cells = []
    for _, query, unit in COLUMNS:
        found = panels.instant(prometheus, query)
        cells.append(draw.shown(float(found[0]["value"][1]) if found else math.nan, unit))
    return "".join(f"{cell:>12}" for cell in cells)


def serve(prometheus: str, began: float, port: int) -> web.Server:
    class Page(web.Handler):
        def do_GET(self):
            self.answer((PAGE + draw.draw(prometheus, minutes_since(began))).encode(), "text/html; charset=utf-8")

    return web.Server(Page, port)


def minutes_since(began: float) -> float:
    return min(30.0, max(1.0, (time.time() - began) / 60))


def has_pages(address: str) -> bool:
    """Debian keeps Prometheus' pages apart from the program."""
    return web.get(address, "/graph")[0] < 400


def main() -> int:
    arguments = argparse.ArgumentParser(prog="deploy/observe")
    arguments.add_argument("--rate", type=int, default=40, help="calls a second, on average")
    arguments.add_argument("--seconds", type=float, default=math.inf, help="end after so long [default: on Ctrl-C]")
    arguments.add_argument("--picture", type=Path, help="write the page as SVG at the end")
    arguments.add_argument("--port", type=int, default=0, help="of the page [default: a free one]")
    given = arguments.parse_args()
    # Both end the `with` below in good order.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Stack(given.rate, SCRAPE) as stack:
        began = time.time()
        page = stack.enter_context(serve(stack.prometheus, began, given.port))
        print(f"dashboard    {page.url}/")
        print(f"Prometheus   {stack.prometheus}/{'graph' if has_pages(stack.prometheus_address) else 'api/v1 (this build comes without its pages)'}")
        print(f"metrics      http://{stack.demo.admin}/metrics")
        print(f"gRPC         {stack.demo.address}, {given.rate} calls a second go there")
        print("Ctrl-C ends everything and leaves nothing behind.\n", flush=True)
        shown = 0
        while not stop.wait(2) and time.time() - began < given.seconds:
            if shown % 20 == 0:
                print("".join(f"{name:>12}" for name, _, _ in COLUMNS))
            print(row(stack.prometheus), flush=True)
            shown += 1
        if given.picture:
            given.picture.write_text(draw.draw(stack.prometheus, minutes_since(began)), encoding="utf-8")
            print(f"the page is in {given.picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
