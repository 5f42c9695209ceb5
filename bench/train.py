"""Loads a gateway that was built to record its own profile, for `deploy/release --profile-guided`.

usage: bench/train.py GATEWAY
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import Shape
from machine import BenchError, raise_file_limit
from peers import ROOT, install
from run import FULL, Bench, end_on
from servers import Gateway
from upstream import CALLS

#: Many calls at a time, and one after the other.
SHAPES = (Shape(8, 16, 20_000), Shape(1, 1, 5_000))


def main() -> int:
    binary = Path(sys.argv[1]).resolve()
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(signum, end_on)
    signal.alarm(600)
    try:
        tools = install(ROOT / "target" / "bench")
        work = ROOT / "target" / "bench" / "train"
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(FULL, tools, work, binary, envoy=False, file_limit=raise_file_limit())
        where = bench.one_core
        for kind in ("plain", "tls"):
            # It writes its profile when it ends.
            with bench.upstream(where) as upstream, Gateway(binary, upstream, kind, work, where.server) as server:
                bench.check(server)
                for rpc in CALLS:
                    for shape in SHAPES:
                        bench.through(server, upstream, rpc, shape, where)
    except BenchError as problem:
        print(f"train: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
