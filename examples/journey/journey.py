#!/usr/bin/env python3
"""Moves a Flink job from an Apache Flink cluster to Huawei Cloud DLI, with its state.

Stops the job with a savepoint, waits for the savepoint, imports it into a job of DLI, resumes that job
from it, and waits until it runs. Started again with the same arguments it goes on where it was; once
Flink has forgotten the savepoint (after 5 minutes), with --savepoint.

Exit code 0: the job runs on DLI. 1: nothing was imported. 3: the savepoint may be imported, but the
job does not run; the last lines say what to do.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

import grpc
from savepoint.dli.v1 import dli_pb2 as dli
from savepoint.dli.v1 import dli_pb2_grpc
from savepoint.flink.v1 import flink_pb2 as flink
from savepoint.flink.v1 import flink_pb2_grpc
from savepoint.v1 import savepoint_pb2 as savepoints
from savepoint.v1 import savepoint_pb2_grpc
from savepoint_client import WATCH_AGAIN, connect, print_failure, tls_from_environment

CALL_SECONDS = 10
POLL_SECONDS = 1
# Savepoints of one run, if they fail.
ATTEMPTS = 3
# States of a DLI job whose start has failed.
ENDED = (
    dli.JOB_STATE_SUBMIT_FAIL,
    dli.JOB_STATE_RUNNING_EXCEPTION,
    dli.JOB_STATE_CANCEL_SUCCESS,
    dli.JOB_STATE_ARREARAGE_STOPPED,
    dli.JOB_STATE_FINISH,
)


class JourneyError(Exception):
    """It cannot go on, and why."""


def say(text: str) -> None:
    print(text, flush=True)


def poll(what: str, ask: Callable[[], object], seconds: float):
    """What `ask` returns, once that is true."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() >= end:
            raise JourneyError(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)
    return answer


class FlinkJob:
    """The job that moves."""

    def __init__(self, channel: grpc.Channel, options: argparse.Namespace):
        self._stub = flink_pb2_grpc.FlinkServiceStub(channel)
        self._which = {"cluster": options.cluster, "job_id": options.flink_job}
        self._options = options

    def take_savepoint(self) -> str:
        """Stops the job with a savepoint, or only takes one. Returns where it is."""
        end = time.monotonic() + self._options.timeout
        # Before, a savepoint fails. A job that has ended may have been stopped by an earlier run.
        poll("all tasks of the job run", self._runs_or_has_ended, self._options.timeout)
        for attempt in range(1, ATTEMPTS + 1):
            savepoint = self._watch(self._begin(attempt), end)
            if savepoint.status.state == savepoints.SAVEPOINT_STATE_COMPLETED:
                return savepoint.savepoint_location
            say(f"  {savepoint.status.failure.message}")
        raise JourneyError(f"{ATTEMPTS} savepoints failed")

    def _runs_or_has_ended(self) -> bool:
        job = self._stub.GetJob(flink.GetJobRequest(**self._which), timeout=CALL_SECONDS).job
        say(f"Flink: {flink.JobState.Name(job.state)}")
        return job.all_tasks_running or job.HasField("end_time")

    def _begin(self, attempt: int) -> str:
        """The trigger id. The key makes a second run of this program find the savepoint of the first, also
        one that failed: that it is tried again needs another key."""
        fields = self._which | {
            "target_directory": self._options.target_directory,
            "idempotency_key": f"journey-to-{self._options.dli_job}-{attempt}",
        }
        if self._options.keep_running:
            request = flink.TriggerSavepointRequest(**fields)
            trigger_id = self._stub.TriggerSavepoint(request, timeout=CALL_SECONDS).trigger_id
        else:
            request = flink.StopWithSavepointRequest(**fields)
            trigger_id = self._stub.StopWithSavepoint(request, timeout=CALL_SECONDS).trigger_id
        say(f"Flink: savepoint {trigger_id} has begun")
        return trigger_id

    def _watch(self, trigger_id: str, end: float) -> savepoints.Savepoint:
        """The savepoint, once it is complete or has failed: that it was begun says nothing of success."""
        request = flink.WatchSavepointRequest(**self._which, trigger_id=trigger_id)
        while True:
            try:
                for message in self._stub.WatchSavepoint(request, timeout=end - time.monotonic()):
                    status = message.savepoint.status
                    say(f"Flink: {savepoints.SavepointState.Name(status.state)} ({status.provider_state})")
                return message.savepoint
            except grpc.RpcError as error:
                # The gateway restarts, for example.
                if error.code() not in WATCH_AGAIN or time.monotonic() + POLL_SECONDS >= end:
                    raise
            time.sleep(POLL_SECONDS)


def path_for_dli(location: str, obs_directory: str) -> str:
    """How DLI names the savepoint that Flink tells the location of."""
    if obs_directory:
        return f"{obs_directory.rstrip('/')}/{location.rstrip('/').rsplit('/', 1)[1]}"
    scheme, separator, rest = location.partition("://")
    if separator and scheme in ("obs", "s3", "s3a", "s3p"):
        return f"obs://{rest}"
    raise JourneyError(f"DLI cannot read {location}: copy it to OBS, and name its directory in --obs-directory")


class DliJob:
    """The job that takes over. `changed` once it may have the savepoint."""

    def __init__(self, channel: grpc.Channel, options: argparse.Namespace):
        self._savepoints = savepoint_pb2_grpc.SavepointServiceStub(channel)
        self._jobs = dli_pb2_grpc.DliServiceStub(channel)
        self._which = {"project_id": options.project, "job_id": options.dli_job}
        self.changed = False

    def check(self) -> None:
        """Whether it can take over, before the other job is stopped."""
        if self._get().state == dli.JOB_STATE_RUNNING:
            raise JourneyError("the job on DLI runs already: nothing was stopped and nothing imported")

    def take_over(self, path: str, seconds: float) -> None:
        """Imports the savepoint and resumes the job: one without the other loses the state."""
        before = self._get().state
        runs = False
        try:
            self._import(path)
            self._resume()
            poll("the job runs on DLI", lambda: self._runs(before), seconds)
            runs = True
        finally:
            # Also after an interrupt.
            if self.changed and not runs:
                say(
                    f"NOT RESUMED: the job on DLI may have the savepoint {path}, and was not seen running.\n"
                    "Call savepoint.dli.v1.DliService/ResumeJob, or run this again with --savepoint.\n"
                    "Do not start the job in any other way without resuming: it would begin without state."
                )

    def _get(self) -> dli.Job:
        job = self._jobs.GetJob(dli.GetJobRequest(**self._which), timeout=CALL_SECONDS).job
        say(f"DLI: {dli.JobState.Name(job.state)} ({job.provider_state}) {job.state_description}".rstrip())
        return job

    def _import(self, path: str) -> None:
        request = savepoints.ImportSavepointRequest(**self._which, savepoint_path=path)
        self.changed = True
        answer = self._savepoints.ImportSavepoint(request, timeout=CALL_SECONDS)
        say(f"DLI: {answer.message} (request {answer.request_id})")

    def _resume(self) -> None:
        answer = self._jobs.ResumeJob(dli.ResumeJobRequest(**self._which), timeout=CALL_SECONDS)
        say(f"DLI: {answer.message} (request {answer.request_id})")

    def _runs(self, before: dli.JobState) -> bool:
        """Whether it runs. At first DLI may show the state that the job had before."""
        job = self._get()
        if job.state in ENDED and job.state != before:
            raise JourneyError(f"the job has not started: {job.provider_state} {job.state_description}")
        return job.state == dli.JOB_STATE_RUNNING


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flink-job", metavar="ID", help="job on the Flink cluster, 32 hexadecimal digits")
    parser.add_argument("--cluster", default="", help="name of the cluster; the gateway's only one by default")
    parser.add_argument("--target-directory", default="", help="where Flink writes; its default by default")
    parser.add_argument("--keep-running", action="store_true", help="do not stop the job on the Flink cluster")
    parser.add_argument("--savepoint", metavar="LOCATION", help="go on with this savepoint instead of a new one")
    parser.add_argument("--dli-job", type=int, required=True, metavar="ID", help="job on DLI that does not run")
    parser.add_argument("--project", default="", help="Huawei Cloud project; the gateway's by default")
    parser.add_argument("--obs-directory", default="", help="where DLI finds the target directory, in OBS")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for the savepoint, and for the start")
    options = parser.parse_args()
    if bool(options.flink_job) == bool(options.savepoint):
        parser.error("either --flink-job or --savepoint is needed")
    return options


def main() -> int:
    options = arguments()
    address = os.environ.get("SAVEPOINT_GATEWAY_ADDRESS") or "127.0.0.1:50051"
    # The one gateway can be at the cluster, the other where the credentials of the cloud are.
    dli_address = os.environ.get("SAVEPOINT_DLI_GATEWAY_ADDRESS") or address
    tls = tls_from_environment()
    job = None
    try:
        with connect(address, tls) as here, connect(dli_address, tls) as there:
            job = DliJob(there, options)
            job.check()
            location = options.savepoint or FlinkJob(here, options).take_savepoint()
            say(f"the savepoint is at {location}")
            job.take_over(path_for_dli(location, options.obs_directory), options.timeout)
    except grpc.RpcError as error:
        print_failure(error)
    except JourneyError as error:
        say(f"  {error}")
    except KeyboardInterrupt:
        say("  interrupted")
    else:
        say("the job runs on DLI")
        return 0
    return 3 if job and job.changed else 1


if __name__ == "__main__":
    sys.exit(main())
