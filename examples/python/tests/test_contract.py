"""The contract as a Python caller sees it.

The gateway at SAVEPOINT_GATEWAY_ADDRESS must stand before examples/fake_provider.py, whose head
lists the ids used here, and end each watch after two seconds. The one at SAVEPOINT_DEMO_ADDRESS is
`savepoint-gateway demo`. The one at SAVEPOINT_RESTARTING_ADDRESS is like the first one, without that
limit, and drained and started again every two seconds.
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
from savepoint_client import (
    SavepointFailed,
    connect,
    create_savepoint,
    details_of,
    get_savepoint,
    import_savepoint,
    list_savepoints,
    watch_savepoint,
)


def setUpModule():
    for name in ("GATEWAY", "DEMO", "RESTARTING"):
        if not os.environ.get(f"SAVEPOINT_{name}_ADDRESS"):
            raise unittest.SkipTest(f"SAVEPOINT_{name}_ADDRESS is not set: no gateway to call")


class ContractTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.channel = cls.connect("SAVEPOINT_GATEWAY_ADDRESS")
        cls.demo = cls.connect("SAVEPOINT_DEMO_ADDRESS")
        cls.restarting = cls.connect("SAVEPOINT_RESTARTING_ADDRESS")

    @classmethod
    def connect(cls, variable: str) -> grpc.Channel:
        channel = connect(os.environ[variable], savepoint_client.tls_from_environment())
        cls.addClassCleanup(channel.close)
        return channel

    def import_job(self, job_id: int, path: str = "obs://bucket-name/dir/savepoint/"):
        request = savepoint_pb2.ImportSavepointRequest(job_id=job_id, savepoint_path=path)
        return import_savepoint(self.channel, request)

    def get(self, savepoint_id: str) -> savepoint_pb2.Savepoint:
        request = savepoint_pb2.GetSavepointRequest(
            namespace="default-namespace", savepoint_id=savepoint_id
        )
        return get_savepoint(self.channel, request).savepoint

    def create(self, channel: grpc.Channel, deployment_id: str) -> savepoint_pb2.Savepoint:
        request = savepoint_pb2.CreateSavepointRequest(
            namespace="default-namespace", deployment_id=deployment_id
        )
        return create_savepoint(channel, request).savepoint

    def watch(
        self, channel: grpc.Channel, savepoint_id: str, timeout_seconds: float = 20
    ) -> savepoint_pb2.Savepoint:
        request = savepoint_pb2.WatchSavepointRequest(
            namespace="default-namespace", savepoint_id=savepoint_id
        )
        return watch_savepoint(channel, request, timeout_seconds)

    def list(self, channel: grpc.Channel, deployment_id: str) -> list[savepoint_pb2.Savepoint]:
        request = savepoint_pb2.ListSavepointsRequest(
            namespace="default-namespace", deployment_id=deployment_id, page_size=1
        )
        return list(list_savepoints(channel, request))

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

    def test_a_savepoint_is_created_watched_and_listed(self):
        deployment_id = f"deployment-{random.getrandbits(64)}"
        created = self.create(self.demo, deployment_id)
        self.assertEqual(created.status.state, savepoint_pb2.SAVEPOINT_STATE_STARTED)
        complete = self.watch(self.demo, created.savepoint_id)
        self.assertEqual(complete.status.state, savepoint_pb2.SAVEPOINT_STATE_COMPLETED)
        self.assertEqual(complete.deployment_id, deployment_id)
        self.assertEqual(self.list(self.demo, deployment_id), [complete])

    def test_a_savepoint_that_fails_is_raised(self):
        created = self.create(self.demo, "simulate-failed-savepoint")
        with self.assertRaises(SavepointFailed) as raised:
            self.watch(self.demo, created.savepoint_id)
        status = raised.exception.savepoint.status
        self.assertEqual(status.state, savepoint_pb2.SAVEPOINT_STATE_FAILED)
        self.assertIn(status.failure.message, str(raised.exception))
        self.assertEqual(status.failure.message, "create savepoint failed")

    def test_a_watch_of_an_unknown_savepoint_ends_at_once(self):
        details = self.failure(
            grpc.StatusCode.NOT_FOUND, lambda: self.watch(self.demo, "simulate-not-found")
        )
        self.assertEqual(details["ErrorInfo"].reason, "PROVIDER_NOT_FOUND")

    def test_all_pages_are_listed(self):
        deployment_id = f"deployment-{random.getrandbits(64)}"
        created = [self.create(self.demo, deployment_id).savepoint_id for _ in range(3)]
        listed = self.list(self.demo, deployment_id)
        self.assertEqual([savepoint.savepoint_id for savepoint in listed], created)

    def test_create_savepoint_is_never_retried_and_a_list_tells_its_outcome(self):
        deployment_id = f"unavailable-{random.getrandbits(64)}"
        details = self.failure(
            grpc.StatusCode.UNAVAILABLE, lambda: self.create(self.channel, deployment_id)
        )
        self.assertEqual(details["ErrorInfo"].metadata["outcome"], "unknown")
        self.assertEqual(len(self.list(self.channel, deployment_id)), 1)

    def test_a_watch_goes_on_when_unavailable(self):
        # The gateway alone makes at most three attempts; the others are the loop's.
        complete = self.watch(self.channel, f"flaky-4-{random.getrandbits(64)}")
        self.assertEqual(complete.description, "answered at call 5")

    def test_a_watch_goes_on_after_the_gateways_limit(self):
        complete = self.watch(self.channel, f"started-5-{random.getrandbits(64)}")
        self.assertEqual(complete.status.state, savepoint_pb2.SAVEPOINT_STATE_COMPLETED)

    def test_a_watch_goes_on_after_a_restart(self):
        # One watch alone would take half a minute for as many calls.
        complete = self.watch(self.restarting, f"started-7-{random.getrandbits(64)}")
        self.assertEqual(complete.status.state, savepoint_pb2.SAVEPOINT_STATE_COMPLETED)

    def test_the_callers_limit_ends_a_watch(self):
        # Beyond the gateway's limit, so that it is watched again before.
        began = time.monotonic()
        with self.assertRaises(grpc.RpcError) as raised:
            self.watch(self.channel, "started-1000000-limit", timeout_seconds=3)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertLess(time.monotonic() - began, 5)


if __name__ == "__main__":
    unittest.main()
