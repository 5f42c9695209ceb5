"""Savepoints on Apache Flink, with the simulated cluster of `savepoint-gateway demo`."""

import os
import random
import unittest

import grpc
import savepoint_client
from flink_client import take_savepoint, trigger_savepoint
from savepoint.flink.v1 import flink_pb2
from savepoint.v1 import savepoint_pb2
from savepoint_client import connect


@unittest.skipUnless(os.environ.get("SAVEPOINT_DEMO_ADDRESS"), "no gateway to call")
class FlinkTest(unittest.TestCase):
    def setUp(self):
        address = os.environ["SAVEPOINT_DEMO_ADDRESS"]
        self.channel = connect(address, savepoint_client.tls_from_environment())
        self.addCleanup(self.channel.close)

    def request(self, key: str = "") -> flink_pb2.TriggerSavepointRequest:
        return flink_pb2.TriggerSavepointRequest(
            job_id=f"{random.getrandbits(128) | 1 << 127:032x}",
            target_directory="s3://bucket/savepoints",
            idempotency_key=key,
        )

    def test_a_savepoint_is_begun_and_watched_until_it_is_complete(self):
        savepoint = take_savepoint(self.channel, self.request(), timeout_seconds=30)
        self.assertEqual(savepoint.status.state, savepoint_pb2.SAVEPOINT_STATE_COMPLETED)
        self.assertTrue(savepoint.savepoint_location.startswith("s3://bucket/savepoints"))

    def test_the_same_key_begins_one_savepoint(self):
        request = self.request(key="before-the-upgrade")
        first = trigger_savepoint(self.channel, request)
        self.assertEqual(trigger_savepoint(self.channel, request), first)
        request.idempotency_key = "another"
        self.assertNotEqual(trigger_savepoint(self.channel, request), first)

    def test_an_invalid_request_is_refused_at_once(self):
        request = self.request()
        request.job_id = "no hexadecimal digits"
        with self.assertRaises(grpc.RpcError) as raised:
            take_savepoint(self.channel, request, timeout_seconds=30)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)


if __name__ == "__main__":
    unittest.main()
