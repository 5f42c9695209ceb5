"""Calls every RPC of a running savepoint gateway and prints what comes back."""

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from savepoint.v1 import savepoint_pb2, savepoint_pb2_grpc

DEADLINE_SECONDS = 10

# The calls that the library may repeat by itself. ImportSavepoint and CreateSavepoint are left out:
# after an UNAVAILABLE they may have changed something, and only the caller can know whether to
# repeat them. So is WatchSavepoint: watch_savepoint() repeats it, also after its first message.
SERVICE_CONFIG = """
{"methodConfig": [{
  "name": [
    {"service": "savepoint.v1.SavepointService", "method": "GetSavepoint"},
    {"service": "savepoint.v1.SavepointService", "method": "ListSavepoints"},
    {"service": "savepoint.dli.v1.DliService", "method": "GetJob"},
    {"service": "savepoint.flink.v1.FlinkService", "method": "GetSavepoint"},
    {"service": "savepoint.flink.v1.FlinkService", "method": "GetJob"}
  ],
  "retryPolicy": {
    "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]}
"""

DETAIL_TYPES = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RequestInfo,
    error_details_pb2.RetryInfo,
)


# snippet:begin
# A watch that ends with one of these says nothing about its savepoint.
WATCH_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10


class SavepointFailed(Exception):
    """A watch has ended, and its savepoint is not complete."""

    def __init__(self, savepoint: savepoint_pb2.Savepoint):
        status = savepoint.status
        super().__init__(
            f"savepoint {savepoint.savepoint_id} is {status.provider_state}: {status.failure.message}"
        )
        self.savepoint = savepoint


def connect(address: str, tls: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    # The keepalive finds connections that are dead, which a watch alone would not notice.
    options = [("grpc.service_config", SERVICE_CONFIG), ("grpc.keepalive_time_ms", 30_000)]
    if tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, tls, options)


def get_savepoint(
    channel: grpc.Channel, request: savepoint_pb2.GetSavepointRequest
) -> savepoint_pb2.GetSavepointResponse:
    stub = savepoint_pb2_grpc.SavepointServiceStub(channel)
    return stub.GetSavepoint(request, timeout=DEADLINE_SECONDS)


def create_savepoint(
    channel: grpc.Channel, request: savepoint_pb2.CreateSavepointRequest
) -> savepoint_pb2.CreateSavepointResponse:
    """Never repeated: if the outcome is unknown, list_savepoints() of the deployment tells it."""
    stub = savepoint_pb2_grpc.SavepointServiceStub(channel)
    return stub.CreateSavepoint(request, timeout=DEADLINE_SECONDS)


def watch_savepoint(
    channel: grpc.Channel, request: savepoint_pb2.WatchSavepointRequest, timeout_seconds: float
) -> savepoint_pb2.Savepoint:
    """Waits until the savepoint is complete. One that failed raises SavepointFailed."""
    stub = savepoint_pb2_grpc.SavepointServiceStub(channel)
    return wait_until_complete(stub.WatchSavepoint, request, timeout_seconds)


def wait_until_complete(watch, request: Message, timeout_seconds: float) -> savepoint_pb2.Savepoint:
    """The same with any stub that sends savepoints."""
    end = time.monotonic() + timeout_seconds
    backoff = FIRST_BACKOFF_SECONDS
    while True:
        savepoint = savepoint_pb2.Savepoint()
        try:
            for message in watch(request, timeout=end - time.monotonic()):
                savepoint = message.savepoint
                backoff = FIRST_BACKOFF_SECONDS
        except grpc.RpcError as error:
            # Jitter, because many watches may have ended together.
            wait = random.uniform(backoff / 2, backoff)
            if error.code() not in WATCH_AGAIN or time.monotonic() + wait >= end:
                raise
        else:
            if savepoint.status.state != savepoint_pb2.SAVEPOINT_STATE_COMPLETED:
                raise SavepointFailed(savepoint)
            return savepoint
        time.sleep(wait)
        backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)


def list_savepoints(
    channel: grpc.Channel, request: savepoint_pb2.ListSavepointsRequest
) -> Iterator[savepoint_pb2.Savepoint]:
    """The savepoints of all pages."""
    stub = savepoint_pb2_grpc.SavepointServiceStub(channel)
    page = savepoint_pb2.ListSavepointsRequest()
    page.CopyFrom(request)
    while True:
        response = stub.ListSavepoints(page, timeout=DEADLINE_SECONDS)
        yield from response.savepoints
        if not response.next_page_token:
            return
        page.page_token = response.next_page_token


def details_of(error: grpc.RpcError) -> list[Message]:
    """What grpc-status-details-bin holds: ErrorInfo, and the others where they apply."""
    status = rpc_status.from_call(error)
    details = []
    for packed in status.details if status else ():
        for kind in DETAIL_TYPES:
            detail = kind()
            if packed.Unpack(detail):
                details.append(detail)
    return details
# snippet:end


def import_savepoint(
    channel: grpc.Channel, request: savepoint_pb2.ImportSavepointRequest
) -> savepoint_pb2.ImportSavepointResponse:
    stub = savepoint_pb2_grpc.SavepointServiceStub(channel)
    return stub.ImportSavepoint(request, timeout=DEADLINE_SECONDS)


def tls_from_environment() -> grpc.ChannelCredentials | None:
    """None when SAVEPOINT_GATEWAY_CA is not set: plaintext, which belongs on loopback only."""

    def pem(variable: str) -> bytes | None:
        path = os.environ.get(variable)
        return Path(path).read_bytes() if path else None

    ca = pem("SAVEPOINT_GATEWAY_CA")
    if ca is None:
        return None
    key = pem("SAVEPOINT_GATEWAY_CLIENT_KEY")
    return grpc.ssl_channel_credentials(ca, key, pem("SAVEPOINT_GATEWAY_CLIENT_CERT"))


def print_savepoint(savepoint: savepoint_pb2.Savepoint) -> None:
    state = savepoint_pb2.SavepointState.Name(savepoint.status.state)
    print(f"  {savepoint.savepoint_id}: {state} ({savepoint.status.provider_state})")
    if savepoint.savepoint_location:
        print(f"  at {savepoint.savepoint_location}")
    if savepoint.HasField("create_time"):
        print(f"  created {savepoint.create_time.ToJsonString()}")
    if savepoint.HasField("native_format"):
        print(f"  native format: {savepoint.native_format}")


def print_failure(error: grpc.RpcError) -> None:
    print(f"  {error.code().name}: {error.details()}")
    for detail in details_of(error):
        match detail:
            case error_details_pb2.ErrorInfo():
                print(f"  reason {detail.reason} of {detail.domain}")
                for key, value in sorted(detail.metadata.items()):
                    print(f"    {key}: {value}")
            case error_details_pb2.BadRequest():
                for violation in detail.field_violations:
                    print(f"  field {violation.field}: {violation.description}")
            case error_details_pb2.RequestInfo():
                print(f"  the provider's request id: {detail.request_id}")
            case error_details_pb2.RetryInfo():
                print(f"  try again in {detail.retry_delay.ToTimedelta()}")


def main() -> int:
    address = os.environ.get("SAVEPOINT_GATEWAY_ADDRESS") or "127.0.0.1:50051"
    with connect(address, tls_from_environment()) as channel:
        try:
            print("ImportSavepoint")
            imported = import_savepoint(
                channel,
                savepoint_pb2.ImportSavepointRequest(
                    project_id="0605767b3300d5762fb7c0186d9e1779",
                    job_id=137228,
                    savepoint_path="obs://bucket-name/dir/savepoint/",
                ),
            )
            print(f"  {imported.message} (request {imported.request_id})")

            print("GetSavepoint")
            got = get_savepoint(
                channel,
                savepoint_pb2.GetSavepointRequest(
                    workspace="a14bd5d90a0001",
                    namespace="default-namespace",
                    savepoint_id="88a8fc49-e090-430a-85d8-3ee8c79c0001",
                ),
            )
            print_savepoint(got.savepoint)

            print("CreateSavepoint")
            created = create_savepoint(
                channel,
                savepoint_pb2.CreateSavepointRequest(
                    workspace="a14bd5d90a0001",
                    namespace="default-namespace",
                    deployment_id="58718c99-3b29-4c5e-93bb-c9fc4ec60001",
                    description="before the upgrade",
                ),
            )
            print_savepoint(created.savepoint)

            print("WatchSavepoint")
            complete = watch_savepoint(
                channel,
                savepoint_pb2.WatchSavepointRequest(
                    workspace="a14bd5d90a0001",
                    namespace="default-namespace",
                    savepoint_id=created.savepoint.savepoint_id,
                ),
                timeout_seconds=600,
            )
            print_savepoint(complete)

            print("ListSavepoints")
            for savepoint in list_savepoints(
                channel,
                savepoint_pb2.ListSavepointsRequest(
                    workspace="a14bd5d90a0001",
                    namespace="default-namespace",
                    deployment_id="58718c99-3b29-4c5e-93bb-c9fc4ec60001",
                ),
            ):
                print_savepoint(savepoint)
        except grpc.RpcError as error:
            print_failure(error)
            return 1
        except SavepointFailed as failed:
            print(f"  {failed}")
            return 1

        print("ImportSavepoint with an empty request, to show what a failure carries")
        try:
            import_savepoint(channel, savepoint_pb2.ImportSavepointRequest())
        except grpc.RpcError as error:
            print_failure(error)
            return 0
        print("  it was accepted, which the contract rules out")
        return 1


if __name__ == "__main__":
    sys.exit(main())
