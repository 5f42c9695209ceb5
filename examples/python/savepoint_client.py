"""Calls both RPCs of a running savepoint gateway and prints what comes back."""

import json
import os
import sys
from pathlib import Path

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from savepoint.v1 import savepoint_pb2, savepoint_pb2_grpc

DEADLINE_SECONDS = 10

# GetSavepoint has no side effects and may be repeated. ImportSavepoint is left out: after an
# UNAVAILABLE its job may have been changed, and only the caller can know whether to repeat it.
SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "savepoint.v1.SavepointService", "method": "GetSavepoint"}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)

DETAIL_TYPES = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RequestInfo,
    error_details_pb2.RetryInfo,
)


# snippet:begin
def connect(address: str, tls: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    options = [("grpc.service_config", SERVICE_CONFIG)]
    if tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, tls, options)


def get_savepoint(
    channel: grpc.Channel, request: savepoint_pb2.GetSavepointRequest
) -> savepoint_pb2.GetSavepointResponse:
    stub = savepoint_pb2_grpc.SavepointServiceStub(channel)
    return stub.GetSavepoint(request, timeout=DEADLINE_SECONDS)


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
        except grpc.RpcError as error:
            print_failure(error)
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
