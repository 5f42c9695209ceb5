// The other half of an import: the job is started from its savepoint, and watched until it runs.

import { equals, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, ConnectError } from "@connectrpc/connect";

import {
  DliService,
  type GetJobRequestSchema,
  type Job,
  JobSchema,
  JobState,
} from "../gen/savepoint/dli/v1/dli_pb";
import { detailsOf } from "./client";

const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 10_000;

const FAILED: unknown[] = [
  JobState.SUBMIT_FAIL,
  JobState.RUNNING_EXCEPTION,
  JobState.ARREARAGE_STOPPED,
];

/** The job was started, and does not run. */
export class JobFailedError extends Error {
  constructor(readonly job: Job) {
    super(`job ${job.jobId} is ${job.providerState}: ${job.stateDescription}`);
  }
}

/** This gateway starts and stops no jobs: it runs without --enable-job-control. */
export class JobControlDisabledError extends Error {}

/**
 * Starts a job from its savepoint, and waits until it runs. The start is never repeated: if its
 * outcome is unknown, getJob() tells the job's state.
 */
export async function resumeJob(
  client: Client<typeof DliService>,
  request: MessageInitShape<typeof GetJobRequestSchema>,
  timeoutMs: number,
): Promise<Job> {
  const { projectId, jobId } = request;
  const { job: before } = await client.getJob({ projectId, jobId });
  try {
    await client.resumeJob({ projectId, jobId });
  } catch (error) {
    const failure = ConnectError.from(error);
    // The reason is a name that programs can compare. The text is for people.
    if (detailsOf(failure).errorInfo?.reason === "METHOD_DISABLED") {
      throw new JobControlDisabledError(failure.rawMessage);
    }
    throw error;
  }
  const end = Date.now() + timeoutMs;
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
    const { job } = await client.getJob({ projectId, jobId });
    // What the job was before may still be shown for a while.
    if (job && !(before && equals(JobSchema, job, before))) {
      if (job.state === JobState.RUNNING) return job;
      if (FAILED.includes(job.state)) throw new JobFailedError(job);
    }
    if (Date.now() + waitMs >= end) {
      throw new Error(`job ${jobId} is still ${job?.providerState}`);
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}
