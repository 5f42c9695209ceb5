// The other half of an import: the job is started from its savepoint, and watched until it runs.

import { isDeepStrictEqual } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";

import { type ChannelCredentials, Metadata } from "@grpc/grpc-js";

import {
  DliServiceClient,
  type GetJobRequest,
  type Job,
  JobState,
  ResumeJobRequest,
  type ResumeJobResponse,
} from "../gen/savepoint/dli/v1/dli.js";
import { detailsOf, isServiceError, SERVICE_CONFIG } from "./client.js";

const DEADLINE_MS = 10_000;
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 10_000;

const FAILED: unknown[] = [
  JobState.JOB_STATE_SUBMIT_FAIL,
  JobState.JOB_STATE_RUNNING_EXCEPTION,
  JobState.JOB_STATE_ARREARAGE_STOPPED,
];

/** The job was started, and does not run. */
export class JobFailedError extends Error {
  constructor(readonly job: Job) {
    super(`job ${job.jobId} is ${job.providerState}: ${job.stateDescription}`);
  }
}

/** This gateway starts and stops no jobs: it runs without --enable-job-control. */
export class JobControlDisabledError extends Error {}

export function connectJobs(address: string, creds: ChannelCredentials): DliServiceClient {
  return new DliServiceClient(address, creds, { "grpc.service_config": SERVICE_CONFIG });
}

export function getJob(client: DliServiceClient, request: GetJobRequest): Promise<Job> {
  const options = { deadline: Date.now() + DEADLINE_MS };
  return new Promise((resolve, reject) =>
    client.getJob(request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response.job!)));
}

/**
 * Starts a job from its savepoint, and waits until it runs. The start is never repeated: if its
 * outcome is unknown, getJob() tells the job's state.
 */
export async function resumeJob(
  client: DliServiceClient, request: GetJobRequest, timeoutMs: number,
): Promise<Job> {
  const before = await getJob(client, request);
  const options = { deadline: Date.now() + DEADLINE_MS };
  try {
    await new Promise<ResumeJobResponse>((resolve, reject) =>
      client.resumeJob(ResumeJobRequest.create(request), new Metadata(), options,
        (error, response) => error ? reject(error) : resolve(response)));
  } catch (error) {
    // The reason is a name that programs can compare. The text is for people.
    if (isServiceError(error) && detailsOf(error).errorInfo?.reason === "METHOD_DISABLED") {
      throw new JobControlDisabledError(error.details);
    }
    throw error;
  }
  return waitUntilRunning(client, request, before, timeoutMs);
}

/** Waits for a start. `before` is the job before it, which may still be shown for a while. */
export async function waitUntilRunning(
  client: DliServiceClient, request: GetJobRequest, before: Job | undefined, timeoutMs: number,
): Promise<Job> {
  const end = Date.now() + timeoutMs;
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
    const job = await getJob(client, request);
    if (!isDeepStrictEqual(job, before)) {
      if (job.state === JobState.JOB_STATE_RUNNING) return job;
      if (FAILED.includes(job.state)) throw new JobFailedError(job);
    }
    if (Date.now() + waitMs >= end) {
      throw new Error(`job ${job.jobId} is still ${job.providerState}`);
    }
    await sleep(waitMs);
  }
}
