"""The other half of an import: the job is started from its savepoint, and watched until it runs."""

import time

import grpc
from google.rpc import error_details_pb2
from savepoint.dli.v1 import dli_pb2, dli_pb2_grpc
from savepoint_client import DEADLINE_SECONDS, FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, details_of

FAILED = (
    dli_pb2.JOB_STATE_SUBMIT_FAIL,
    dli_pb2.JOB_STATE_RUNNING_EXCEPTION,
    dli_pb2.JOB_STATE_ARREARAGE_STOPPED,
)


class JobFailed(Exception):
    """The job was started, and does not run."""

    def __init__(self, job: dli_pb2.Job):
        super().__init__(f"job {job.job_id} is {job.provider_state}: {job.state_description}")
        self.job = job


class JobControlDisabled(Exception):
    """This gateway starts and stops no jobs: it runs without --enable-job-control."""


def get_job(channel: grpc.Channel, request: dli_pb2.GetJobRequest) -> dli_pb2.Job:
    stub = dli_pb2_grpc.DliServiceStub(channel)
    return stub.GetJob(request, timeout=DEADLINE_SECONDS).job


def resume_job(
    channel: grpc.Channel, request: dli_pb2.GetJobRequest, timeout_seconds: float
) -> dli_pb2.Job:
    """Starts a job from its savepoint, and waits until it runs.

    The start is never repeated: if its outcome is unknown, get_job() tells the job's state.
    """
    before = get_job(channel, request)
    resume = dli_pb2.ResumeJobRequest(project_id=request.project_id, job_id=request.job_id)
    try:
        dli_pb2_grpc.DliServiceStub(channel).ResumeJob(resume, timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        if reason_of(error) == "METHOD_DISABLED":
            raise JobControlDisabled(error.details()) from error
        raise
    return wait_until_running(channel, request, before, timeout_seconds)


def wait_until_running(
    channel: grpc.Channel,
    request: dli_pb2.GetJobRequest,
    before: dli_pb2.Job,
    timeout_seconds: float,
) -> dli_pb2.Job:
    """Waits for a start. `before` is the job before it, which may still be shown for a while."""
    end = time.monotonic() + timeout_seconds
    wait = FIRST_BACKOFF_SECONDS
    while True:
        job = get_job(channel, request)
        if job != before and job.state == dli_pb2.JOB_STATE_RUNNING:
            return job
        if job != before and job.state in FAILED:
            raise JobFailed(job)
        if time.monotonic() + wait >= end:
            raise TimeoutError(f"job {job.job_id} is still {job.provider_state}")
        time.sleep(wait)
        wait = min(2 * wait, MAX_BACKOFF_SECONDS)


def reason_of(error: grpc.RpcError) -> str:
    """Why a call failed, as a name that programs can compare. The text is for people."""
    kinds = (detail for detail in details_of(error) if isinstance(detail, error_details_pb2.ErrorInfo))
    return next((info.reason for info in kinds), "")
