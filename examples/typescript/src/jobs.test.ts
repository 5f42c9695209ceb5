// The other half of an import, with the gateways that contract.test.ts describes.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, describe, test } from "node:test";

import { GetJobRequest, JobState } from "../gen/savepoint/dli/v1/dli.js";
import { ImportSavepointRequest } from "../gen/savepoint/v1/savepoint.js";
import { connect, credentialsFromEnvironment, importSavepoint } from "./client.js";
import {
  connectJobs,
  getJob,
  JobControlDisabledError,
  JobFailedError,
  resumeJob,
  waitUntilRunning,
} from "./jobs.js";

const [address, demo] = ["GATEWAY", "DEMO"].map(
  (name) => process.env[`SAVEPOINT_${name}_ADDRESS`] ?? "") as [string, string];
const skip = address && demo ? false : "no gateway to call: an address is not set";

describe("jobs", { skip }, () => {
  const savepoints = connect(demo, credentialsFromEnvironment());
  const jobs = connectJobs(demo, credentialsFromEnvironment());
  const withoutControl = connectJobs(address, credentialsFromEnvironment());
  after(() => [savepoints, jobs, withoutControl].forEach((each) => each.close()));

  test("a job is resumed from the imported savepoint", async () => {
    // Beyond 2^53, which a number would round.
    const jobId = `9${randomInt(10 ** 8)}007199254740993`.slice(0, 18);
    const savepointPath = "obs://bucket-name/dir/savepoint/";
    await importSavepoint(savepoints, ImportSavepointRequest.create({ jobId, savepointPath }));
    const request = GetJobRequest.create({ jobId });
    const imported = await getJob(jobs, request);
    assert.deepEqual([imported.jobId, imported.savepointPath], [jobId, savepointPath]);
    const running = await resumeJob(jobs, request, 30_000);
    assert.equal(running.state, JobState.JOB_STATE_RUNNING);
    // The simulated DLI tells here what the job was started from.
    assert.equal(running.stateDescription, `started from ${savepointPath}`);
  });

  const failing = GetJobRequest.create({ jobId: "500" });

  test("a job that cannot start is an error", async () => {
    await assert.rejects(
      waitUntilRunning(withoutControl, failing, undefined, 20_000),
      (error: unknown) => error instanceof JobFailedError &&
        error.job.state === JobState.JOB_STATE_SUBMIT_FAIL &&
        error.message.includes("保存点不存在"));
  });

  test("what a job was before is not taken for its start", async () => {
    const before = await getJob(withoutControl, failing);
    await assert.rejects(
      waitUntilRunning(withoutControl, failing, before, 1_000), /is still job_submit_fail/);
  });

  test("job control that is off is told by its reason", async () => {
    await assert.rejects(resumeJob(withoutControl, failing, 20_000), JobControlDisabledError);
  });
});
