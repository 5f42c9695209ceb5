"""Faults of clusters of Apache Flink, of which one gateway serves several."""

import asyncio
import collections
import json
import time

import grpc

from harness import LONG, Cloud, Gateway, Reply, at_rate, call, text_field, until
from scenario import ms, scenario

SERVICE = "savepoint.flink.v1.FlinkService"
JOB = "fae2ea4e711c8a93bba26029a6f845cd"
RATE = 100


class Cluster:
    """Answers as a cluster does. While `loses`, the answer to every fourth new savepoint is lost."""

    def __init__(self):
        # How often each trigger id came.
        self.begun = collections.Counter()
        self.loses = False
        self.lost = set()
        self.is_complete = False

    def answer(self, request):
        parts = request.path.split("/")[1:]
        if parts[0] != "jobs":
            return Reply(404, b'{"errors":["Not found"]}')
        if request.method == "POST":
            trigger = json.loads(request.body)["triggerId"]
            self.begun[trigger] += 1
            if self.loses and self.begun[trigger] == 1 and len(self.begun) % 4 == 0:
                self.lost.add(trigger)
                return Reply(raw=b"", then="close")
            return Reply(202, json.dumps({"request-id": trigger}).encode())
        if "savepoints" in parts:
            if not self.is_complete:
                return Reply(200, b'{"status":{"id":"IN_PROGRESS"},"operation":null}')
            return Reply(200, b'{"status":{"id":"COMPLETED"},"operation":{"location":"file:/s/savepoint-1"}}')
        if "checkpoints" in parts:
            return Reply(200, b'{"counts":{},"latest":{"savepoint":null,"restored":null}}')
        job = {
            "jid": parts[1], "name": "counter", "state": "RUNNING", "start-time": 1, "end-time": -1,
            "vertices": [{"parallelism": 1, "status": "RUNNING", "tasks": {"RUNNING": 1}}],
        }
        return Reply(200, json.dumps(job).encode())


def job(cluster):
    return text_field(1, cluster) + text_field(2, JOB)


async def watched(channel, messages):
    """Reads a watch to its end; the code that it ends with."""
    stream = channel.unary_stream(f"/{SERVICE}/WatchSavepoint")(
        job("dying") + text_field(3, JOB), timeout=2 * LONG)
    try:
        async for message in stream:
            messages.append(message)
        return "OK"
    except grpc.aio.AioRpcError as error:
        return error.code().name


@scenario(21, "a cluster of Apache Flink dies under load and watches, and comes back",
          "every call to it ends within its deadline with OK, UNAVAILABLE or DEADLINE_EXCEEDED; every "
          "call to another cluster succeeds; a savepoint whose answer was lost is requested again with "
          "the same trigger id; the first call succeeds within 2 s of the return; open watches stay open "
          "and report that the savepoint is complete")
async def cluster_dies(quick):
    dying, other = Cluster(), Cluster()
    down = 1 if quick else 10
    async with (Cloud(dying.answer) as cloud, Cloud(other.answer) as second,
                Gateway(cloud.url, "--flink-cluster", f"dying={cloud.url}",
                        "--flink-cluster", f"other={second.url}") as gateway,
                gateway.channel() as channel):
        ends = []

        async def one(index):
            method = ("GetJob", "TriggerSavepoint")[index // 2 % 2]
            cluster = ("dying", "other")[index % 2]
            code, took, trailers = await call(
                channel, method, job(cluster), timeout=2.0, service=SERVICE)
            assert cluster == "dying" or code == "OK", (method, code, trailers)
            ends.append((time.monotonic(), cluster, code, took))

        seen = [[] for _ in range(20)]
        watches = [asyncio.ensure_future(watched(channel, messages)) for messages in seen]
        await until(lambda: all(seen), what="the first message of each watch")
        load = asyncio.ensure_future(at_rate(RATE, 1 + down + (1 if quick else 3), one))
        dying.loses = True
        await asyncio.sleep(0.5)
        # What was lost until now is asked for again before the cluster is gone.
        dying.loses = False
        await asyncio.sleep(0.5)
        await cloud.stop()
        await asyncio.sleep(down)
        assert not any(watch.done() for watch in watches), "a watch ended while the cluster was down"
        dying.is_complete = True
        await cloud.start()
        back = time.monotonic()
        await load
        codes = collections.Counter(code for _, cluster, code, _ in ends if cluster == "dying")
        assert set(codes) <= {"OK", "Unavailable", "DeadlineExceeded"}, codes
        assert codes["Unavailable"], "the cluster was never missed"
        longest = max(took for _, _, _, took in ends)
        assert longest < 2.5, f"a call took {ms(longest)}"
        first = min(end for end, cluster, code, _ in ends
                    if cluster == "dying" and code == "OK" and end > back) - back
        assert first < 2, f"the first OK came {ms(first)} after the return"
        assert dying.lost, "no answer was lost"
        once = [trigger for trigger in dying.lost if dying.begun[trigger] == 1]
        assert not once, f"of {len(dying.lost)} that were lost, {len(once)} never came again"
        ended = collections.Counter(await asyncio.gather(*watches))
        assert ended == {"OK": len(watches)}, ended
        assert all(b"savepoint-1" in messages[-1] for messages in seen), "a watch did not report the end"
        assert gateway.panics == 0, "a panic"
    return (f"{sum(codes.values())} calls to it, {dict(codes)}, first OK after {ms(first)}; as many to "
            f"the other, all OK; {len(dying.lost)} lost answers, each savepoint requested again with its id; "
            f"{len(watches)} watches reported the end; longest call {ms(longest)}")
