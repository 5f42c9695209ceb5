"""What the cases have in common: a real cluster, a gateway in front of it, jobs and their output."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from savepoint.flink.v1 import flink_pb2 as flink
from savepoint.flink.v1 import flink_pb2_grpc
from savepoint.v1 import savepoint_pb2 as savepoints

from cluster import JOB_CLASS, POLL_SECONDS, Cluster
from tools.gateway import ROOT, Gateway

# For one call, and for what a call has set going. Only a failure waits so long.
CALL_SECONDS = 30
STARTED = savepoints.SAVEPOINT_STATE_STARTED
COMPLETED = savepoints.SAVEPOINT_STATE_COMPLETED
FAILED = savepoints.SAVEPOINT_STATE_FAILED
CLUSTER_NAME = "real"
# Root may write anywhere but here.
UNWRITABLE = "file:///proc/nowhere"


@dataclasses.dataclass
class Job:
    """A counting job, and the file that it writes to."""

    job_id: str
    output: Path

    def lines(self) -> list[tuple[int, int]]:
        """Position and count, in the order written. A last line without its end is left out."""
        text = self.output.read_text() if self.output.exists() else ""
        complete = text[: text.rfind("\n") + 1]
        return [tuple(map(int, line.split())) for line in complete.splitlines()]


@dataclasses.dataclass
class Refusal:
    """How a call failed."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]


def refusal(call: Callable[[], object]) -> Refusal:
    """The call must fail."""
    try:
        answer = call()
    except grpc.RpcError as error:
        info = error_details_pb2.ErrorInfo()
        status = rpc_status.from_call(error)
        assert status, f"no details: {error.code()} {error.details()}"
        assert any(detail.Unpack(info) for detail in status.details), "no ErrorInfo"
        return Refusal(error.code(), error.details(), info.reason, dict(info.metadata))
    raise AssertionError(f"the call succeeded: {answer}")


def until(what: str, ask: Callable[[], object], seconds: float = CALL_SECONDS):
    """What `ask` returns, once that is true."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(POLL_SECONDS)
    return answer


def path_of(location: str) -> Path:
    """The directory of a savepoint. Flink spells file URLs with one slash or with three."""
    return Path(urlsplit(location).path)


class Stage(contextlib.ExitStack):
    """A cluster of this version and a gateway that knows it. Everything ends with the `with`."""

    def __init__(self, built: Path, folder: Path):
        super().__init__()
        self._numbers = itertools.count(1)
        self.folder = folder
        self.cluster = Cluster(built, folder / "cluster")
        self.callback(self.cluster.stop)

    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.cluster.start()
        self.jar_id = self.cluster.upload()
        self.gateway = self.enter_context(self.new_gateway("--enable-job-control"))
        self.flink = self.stub(self.gateway)

    def new_gateway(self, *flags: str) -> Gateway:
        return Gateway("serve", "--flink-cluster", f"{CLUSTER_NAME}={self.cluster.url}", *flags, kept_lines=None)

    def stub(self, gateway: Gateway) -> flink_pb2_grpc.FlinkServiceStub:
        channel = self.enter_context(grpc.insecure_channel(gateway.address))
        return flink_pb2_grpc.FlinkServiceStub(channel)

    def new_folder(self) -> Path:
        """Does not exist yet."""
        return self.folder / f"target-{next(self._numbers)}"

    def journey(self, dli: Gateway, *arguments: str) -> tuple[int, str]:
        """Exit code and output of the example, with this gateway for DLI."""
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT / "examples/python")]),
            "SAVEPOINT_GATEWAY_ADDRESS": self.gateway.address,
            "SAVEPOINT_DLI_GATEWAY_ADDRESS": dli.address,
        }
        ended = subprocess.run(
            [sys.executable, ROOT / "examples/journey/journey.py", *arguments],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CALL_SECONDS)
        return ended.returncode, ended.stdout

    # --- Jobs.

    def resume_request(self, output: Path, *arguments: str, **fields) -> flink.ResumeJobRequest:
        return flink.ResumeJobRequest(
            jar_id=self.jar_id,
            entry_class=JOB_CLASS,
            program_args=["--output", str(output), *arguments],
            **fields,
        )

    def resume(self, *arguments: str, **fields) -> Job:
        """A job from `savepoint_path`, or without state. All its tasks run."""
        if "savepoint_path" not in fields:
            fields["without_state"] = True
        # With a space, as an argument of a job may have one.
        output = self.folder / f"output {next(self._numbers)}"
        answer = self.flink.ResumeJob(self.resume_request(output, *arguments, **fields), timeout=CALL_SECONDS)
        job = Job(answer.job_id, output)
        until("all tasks of the job run", lambda: self.job(job).all_tasks_running)
        return job

    @contextlib.contextmanager
    def running(self, *arguments: str, **fields) -> Iterator[Job]:
        """The same, cancelled afterwards."""
        job = self.resume(*arguments, **fields)
        try:
            yield job
        finally:
            self.cluster.cancel(job.job_id)

    def job(self, job: Job) -> flink.Job:
        return self.flink.GetJob(flink.GetJobRequest(job_id=job.job_id), timeout=CALL_SECONDS).job

    def counted(self, job: Job, more: int = 1) -> tuple[int, int]:
        """The last line, once there are so many more than now."""
        wanted = len(job.lines()) + more
        return until("the job counts", lambda: len(job.lines()) >= wanted and job.lines()[-1])

    # --- Savepoints.

    def trigger(self, job: Job, **fields) -> str:
        request = flink.TriggerSavepointRequest(job_id=job.job_id, **fields)
        return self.flink.TriggerSavepoint(request, timeout=CALL_SECONDS).trigger_id

    def stop(self, job: Job, **fields) -> str:
        request = flink.StopWithSavepointRequest(job_id=job.job_id, **fields)
        return self.flink.StopWithSavepoint(request, timeout=CALL_SECONDS).trigger_id

    def get(self, job: Job, trigger_id: str) -> savepoints.Savepoint:
        request = flink.GetSavepointRequest(job_id=job.job_id, trigger_id=trigger_id)
        return self.flink.GetSavepoint(request, timeout=CALL_SECONDS).savepoint

    def watch(self, job: Job, trigger_id: str) -> Iterator[savepoints.Savepoint]:
        """What the messages of a watch say, until the savepoint is complete or has failed."""
        request = flink.WatchSavepointRequest(job_id=job.job_id, trigger_id=trigger_id)
        for message in self.flink.WatchSavepoint(request, timeout=CALL_SECONDS):
            yield message.savepoint

    def completed(self, job: Job, trigger_id: str) -> str:
        """The location of a savepoint, once it is complete."""
        *_, last = self.watch(job, trigger_id)
        assert last.status.state == COMPLETED, f"the savepoint: {last}"
        assert (path_of(last.savepoint_location) / "_metadata").is_file(), f"no savepoint at {last}"
        return last.savepoint_location
