"""The contract as a Python caller sees it.

The gateway at SAVEPOINT_GATEWAY_ADDRESS must stand before examples/fake_provider.py, whose head
lists the ids used here.
"""

import os
import random
import time
import unittest
import unittest.mock

import grpc
import savepoint_client
from google.protobuf.message import Message
from savepoint.v1 import savepoint_pb2
from savepoint_client import connect, details_of, get_savepoint, import_savepoint


def setUpModule():
    if not os.environ.get("SAVEPOINT_GATEWAY_ADDRESS"):
        raise unittest.SkipTest("SAVEPOINT_GATEWAY_ADDRESS is not set: no gateway to call")


class ContractTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.channel = connect(
            os.environ["SAVEPOINT_GATEWAY_ADDRESS"], savepoint_client.tls_from_environment()
        )
        cls.addClassCleanup(cls.channel.close)

    def import_job(self, job_id: int, path: str = "obs://bucket-name/dir/savepoint/"):
        request = savepoint_pb2.ImportSavepointRequest(job_id=job_id, savepoint_path=path)
        return import_savepoint(self.channel, request)

    def get(self, savepoint_id: str) -> savepoint_pb2.Savepoint:
        request = savepoint_pb2.GetSavepointRequest(
            namespace="default-namespace", savepoint_id=savepoint_id
        )
        return get_savepoint(self.channel, request).savepoint

    def failure(self, code: grpc.StatusCode, call) -> dict[str, Message]:
        """The details of a call that must fail with `code`, by the names of their types."""
        with self.assertRaises(grpc.RpcError) as raised:
            call()
        self.assertEqual(raised.exception.code(), code, raised.exception.details())
        details = {type(detail).__name__: detail for detail in details_of(raised.exception)}
        self.assertEqual(details["ErrorInfo"].domain, "savepoint-gateway")
        return details

    def test_documented_answers_arrive_whole(self):
        imported = self.import_job(137228)
        self.assertEqual(imported.message, "The job is successfully updated.")
        self.assertEqual(imported.request_id, "fake-huawei-request")

        savepoint = self.get("88a8fc49-e090-430a-85d8-3ee8c79c0001")
        self.assertEqual(savepoint.status.state, savepoint_pb2.SAVEPOINT_STATE_COMPLETED)
        self.assertEqual(savepoint.origin, savepoint_pb2.SAVEPOINT_ORIGIN_USER_REQUEST)
        self.assertEqual(savepoint.create_time.ToJsonString(), "2022-07-29T03:51:51Z")
        self.assertEqual(savepoint.update_time.ToJsonString(), "2022-07-29T03:51:52Z")
        self.assertTrue(savepoint.HasField("native_format") and savepoint.native_format)

    def test_int64_beyond_2_to_the_53_is_exact(self):
        for job_id in (9007199254740993, 9223372036854775807):
            self.assertEqual(self.import_job(job_id).message, f"path {job_id}, body {job_id}")

    def test_unicode_arrives_intact_both_ways(self):
        path = "obs://桶/保存点 é/"
        self.assertEqual(self.import_job(300, path).message, f"已导入 {path} ✓")

    def test_unknown_enum_text_is_unspecified_and_kept(self):
        savepoint = self.get("unknown-enums")
        self.assertEqual(savepoint.status.state, savepoint_pb2.SAVEPOINT_STATE_UNSPECIFIED)
        self.assertEqual(savepoint.status.provider_state, "HALF_DONE")
        self.assertEqual(savepoint.origin, savepoint_pb2.SAVEPOINT_ORIGIN_UNSPECIFIED)
        self.assertEqual(savepoint.provider_origin, "COSMIC_RAY")

    def test_absent_optionals_are_absent(self):
        optionals = (
            "native_format", "stop_with_drain_enabled", "status", "create_time", "update_time"
        )
        for savepoint_id in ("sparse", "nulls"):
            savepoint = self.get(savepoint_id)
            self.assertEqual(savepoint.savepoint_id, savepoint_id)
            self.assertEqual([name for name in optionals if savepoint.HasField(name)], [])

    def test_false_is_not_absent(self):
        savepoint = self.get("false-optionals")
        self.assertTrue(savepoint.HasField("native_format"))
        self.assertFalse(savepoint.native_format)
        self.assertTrue(savepoint.HasField("stop_with_drain_enabled"))
        self.assertFalse(savepoint.stop_with_drain_enabled)

    def test_milliseconds_become_timestamps(self):
        savepoint = self.get("milliseconds")
        self.assertEqual(savepoint.create_time.ToJsonString(), "2024-03-28T17:30:09.620Z")
        self.assertEqual(savepoint.update_time.ToJsonString(), "2024-03-28T17:30:10.001Z")

    def test_a_failed_savepoint_is_an_answer(self):
        status = self.get("failed").status
        self.assertEqual(status.state, savepoint_pb2.SAVEPOINT_STATE_FAILED)
        self.assertEqual(status.failure.message, "保存点失败 – żółć 💥")
        self.assertEqual(status.failure.reason, "IO Exception")
        self.assertEqual(status.failure.fail_time.ToJsonString(), "2022-08-08T23:06:40Z")

    def test_every_bad_field_is_named(self):
        empty = savepoint_pb2.ImportSavepointRequest()
        details = self.failure(
            grpc.StatusCode.INVALID_ARGUMENT, lambda: import_savepoint(self.channel, empty)
        )
        fields = {violation.field for violation in details["BadRequest"].field_violations}
        self.assertEqual(fields, {"job_id", "savepoint_path"})
        self.assertEqual(details["ErrorInfo"].reason, "INVALID_REQUEST")
        self.assertEqual(details["ErrorInfo"].metadata["outcome"], "not_applied")

    def test_not_found_carries_the_providers_words(self):
        details = self.failure(grpc.StatusCode.NOT_FOUND, lambda: self.get("no-such-savepoint"))
        self.assertEqual(details["ErrorInfo"].reason, "PROVIDER_NOT_FOUND")
        self.assertEqual(details["ErrorInfo"].metadata["providerCode"], "990301")
        self.assertEqual(details["RequestInfo"].request_id, "FAKE-ALIBABA-REQUEST")

    def test_a_reported_failure_keeps_its_unicode_message(self):
        details = self.failure(
            grpc.StatusCode.FAILED_PRECONDITION, lambda: self.import_job(400)
        )
        self.assertEqual(details["ErrorInfo"].reason, "PROVIDER_REPORTED_FAILURE")
        self.assertEqual(
            details["ErrorInfo"].metadata["providerMessage"], "作业正在运行 – läuft noch 🚫"
        )

    def test_a_known_wait_arrives_as_retry_info(self):
        for call in (lambda: self.import_job(429), lambda: self.get("throttled")):
            details = self.failure(grpc.StatusCode.RESOURCE_EXHAUSTED, call)
            self.assertEqual(details["ErrorInfo"].reason, "PROVIDER_THROTTLED")
            self.assertEqual(details["RetryInfo"].retry_delay.ToSeconds(), 3600)

    def test_get_savepoint_is_retried_when_unavailable(self):
        # The gateway alone makes at most three attempts; the fourth is the service config's.
        savepoint = self.get(f"flaky-3-{random.getrandbits(64)}")
        self.assertEqual(savepoint.description, "answered at call 4")

    def test_import_savepoint_is_never_retried(self):
        job_id = random.randrange(503_000_000, 504_000_000)
        details = self.failure(grpc.StatusCode.UNAVAILABLE, lambda: self.import_job(job_id))
        metadata = details["ErrorInfo"].metadata
        self.assertEqual(metadata["outcome"], "unknown")
        self.assertEqual(metadata["providerMessage"], f"call 1 of job {job_id}")

    def test_a_careless_service_config_does_not_repeat_an_import(self):
        # grpc-retry-pushback-ms tells the client not to, whatever its service config says.
        careless = savepoint_client.SERVICE_CONFIG.replace("GetSavepoint", "ImportSavepoint")
        job_id = random.randrange(503_000_000, 504_000_000)
        with unittest.mock.patch.object(savepoint_client, "SERVICE_CONFIG", careless):
            channel = connect(
                os.environ["SAVEPOINT_GATEWAY_ADDRESS"], savepoint_client.tls_from_environment()
            )
        with channel:
            request = savepoint_pb2.ImportSavepointRequest(job_id=job_id, savepoint_path="a/b")
            details = self.failure(
                grpc.StatusCode.UNAVAILABLE, lambda: import_savepoint(channel, request)
            )
        message = details["ErrorInfo"].metadata["providerMessage"]
        self.assertEqual(message, f"call 1 of job {job_id}")

    def test_the_deadline_ends_a_slow_call(self):
        stub = savepoint_client.savepoint_pb2_grpc.SavepointServiceStub(self.channel)
        request = savepoint_pb2.GetSavepointRequest(namespace="n", savepoint_id="slow")
        began = time.monotonic()
        with self.assertRaises(grpc.RpcError) as raised:
            stub.GetSavepoint(request, timeout=0.5)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertLess(time.monotonic() - began, 5)


if __name__ == "__main__":
    unittest.main()
