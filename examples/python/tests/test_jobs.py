"""The other half of an import, with the gateways that test_contract.py describes."""

import os
import random
import unittest

import grpc
import savepoint_client
from job_client import (
    JobControlDisabled,
    JobFailed,
    get_job,
    resume_job,
    wait_until_running,
)
from savepoint.dli.v1 import dli_pb2
from savepoint.v1 import savepoint_pb2
from savepoint_client import connect, import_savepoint


def setUpModule():
    for name in ("GATEWAY", "DEMO"):
        if not os.environ.get(f"SAVEPOINT_{name}_ADDRESS"):
            raise unittest.SkipTest(f"SAVEPOINT_{name}_ADDRESS is not set: no gateway to call")


class JobsTest(unittest.TestCase):
    def connect(self, variable: str) -> grpc.Channel:
        channel = connect(os.environ[variable], savepoint_client.tls_from_environment())
        self.addCleanup(channel.close)
        return channel

    def test_a_job_is_resumed_from_the_imported_savepoint(self):
        channel = self.connect("SAVEPOINT_DEMO_ADDRESS")
        job_id, path = random.randrange(10**9, 2**63), "obs://bucket-name/dir/savepoint/"
        import_savepoint(
            channel, savepoint_pb2.ImportSavepointRequest(job_id=job_id, savepoint_path=path)
        )
        request = dli_pb2.GetJobRequest(job_id=job_id)
        imported = get_job(channel, request)
        self.assertEqual((imported.job_id, imported.savepoint_path), (job_id, path))
        running = resume_job(channel, request, timeout_seconds=30)
        self.assertEqual(running.state, dli_pb2.JOB_STATE_RUNNING)
        # The simulated DLI tells here what the job was started from.
        self.assertEqual(running.state_description, f"started from {path}")

    def test_a_job_that_cannot_start_is_raised(self):
        channel = self.connect("SAVEPOINT_GATEWAY_ADDRESS")
        request = dli_pb2.GetJobRequest(job_id=500)
        with self.assertRaises(JobFailed) as raised:
            wait_until_running(channel, request, dli_pb2.Job(), timeout_seconds=20)
        self.assertEqual(raised.exception.job.state, dli_pb2.JOB_STATE_SUBMIT_FAIL)
        self.assertIn("保存点不存在", str(raised.exception))

    def test_what_a_job_was_before_is_not_taken_for_its_start(self):
        channel = self.connect("SAVEPOINT_GATEWAY_ADDRESS")
        request = dli_pb2.GetJobRequest(job_id=500)
        with self.assertRaises(TimeoutError):
            wait_until_running(channel, request, get_job(channel, request), timeout_seconds=1)

    def test_job_control_that_is_off_is_told_by_its_reason(self):
        channel = self.connect("SAVEPOINT_GATEWAY_ADDRESS")
        with self.assertRaises(JobControlDisabled):
            resume_job(channel, dli_pb2.GetJobRequest(job_id=500), timeout_seconds=20)


if __name__ == "__main__":
    unittest.main()
