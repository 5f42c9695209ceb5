"""Calls a server through a real gRPC client, and encodes what the load generator sends.

Runs in the virtual environment of the peers, since it needs grpcio and protobuf:

    call.py encode DESCRIPTOR REPLY FOLDER     write the request frames, print the size of each answer
    call.py check DESCRIPTOR REPLY ADDRESS     make each call once and compare the answers

The calls, in the form of calls.json, come from standard input.
"""

import json
import struct
import sys
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory


class Contract:
    def __init__(self, descriptor: Path):
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor.read_bytes()).file:
            self._pool.Add(file)

    def method(self, full_name: str):
        return self._pool.FindMethodByName(full_name)

    def message(self, descriptor, value: dict):
        message = message_factory.GetMessageClass(descriptor)()
        return json_format.ParseDict(value, message, descriptor_pool=self._pool)


def frame(payload: bytes) -> bytes:
    """The length-prefixed form in which gRPC puts one uncompressed message into DATA."""
    return struct.pack(">BI", 0, len(payload)) + payload


def encode(contract: Contract, calls: dict, reply: str, folder: Path) -> None:
    sizes = {}
    for name, call in calls.items():
        method = contract.method(call["method"])
        request = contract.message(method.input_type, call["request"])
        (folder / f"{name}.grpc").write_bytes(frame(request.SerializeToString()))
        answer = contract.message(method.output_type, call["reply"][reply])
        sizes[name] = len(frame(answer.SerializeToString()))
    print(json.dumps(sizes))


def check(contract: Contract, calls: dict, reply: str, address: str) -> int:
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        for call in calls.values():
            method = contract.method(call["method"])
            service, _, name = call["method"].rpartition(".")
            stub = channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
            wanted = contract.message(method.output_type, call["reply"][reply])
            try:
                got = stub(contract.message(method.input_type, call["request"]), timeout=10)
            except grpc.RpcError as error:
                print(f"{name}: {error.code().name}: {error.details()}")
                return 1
            if got != wanted:
                print(f"{name}: answered {got!r}, wanted {wanted!r}")
                return 1
    return 0


def main() -> int:
    task, descriptor, reply, where = sys.argv[1:]
    contract = Contract(Path(descriptor))
    calls = {name: call for name, call in json.load(sys.stdin).items() if reply in call["reply"]}
    if task == "encode":
        encode(contract, calls, reply, Path(where))
        return 0
    if task == "check":
        return check(contract, calls, reply, where)
    raise SystemExit(f"unknown task {task}")


if __name__ == "__main__":
    sys.exit(main())
