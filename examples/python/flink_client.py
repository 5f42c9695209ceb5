"""A savepoint of a job on a cluster of Apache Flink: begun once, and watched until it is complete."""

import uuid

import grpc
from savepoint.flink.v1 import flink_pb2, flink_pb2_grpc
from savepoint.v1 import savepoint_pb2
from savepoint_client import DEADLINE_SECONDS, wait_until_complete


def trigger_savepoint(channel: grpc.Channel, request: flink_pb2.TriggerSavepointRequest) -> str:
    """Begins a savepoint and returns its trigger id.

    With the same idempotency key a second call begins no second savepoint, so a call whose outcome is
    unknown can be made again.
    """
    stub = flink_pb2_grpc.FlinkServiceStub(channel)
    return stub.TriggerSavepoint(request, timeout=DEADLINE_SECONDS).trigger_id


def take_savepoint(
    channel: grpc.Channel, request: flink_pb2.TriggerSavepointRequest, timeout_seconds: float
) -> savepoint_pb2.Savepoint:
    """Begins a savepoint and waits until it is complete. One that failed raises SavepointFailed."""
    keyed = flink_pb2.TriggerSavepointRequest()
    keyed.CopyFrom(request)
    keyed.idempotency_key = request.idempotency_key or str(uuid.uuid4())
    try:
        trigger_id = trigger_savepoint(channel, keyed)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        # Once more. It has the same key, so whatever became of the first one, there is one savepoint.
        trigger_id = trigger_savepoint(channel, keyed)
    watch = flink_pb2.WatchSavepointRequest(
        cluster=request.cluster, job_id=request.job_id, trigger_id=trigger_id
    )
    stub = flink_pb2_grpc.FlinkServiceStub(channel)
    return wait_until_complete(stub.WatchSavepoint, watch, timeout_seconds)
