// A savepoint of a job on a cluster of Apache Flink: begun once, and watched until it is complete.

import { randomUUID } from "node:crypto";

import { type ChannelCredentials, Metadata, status } from "@grpc/grpc-js";

import {
  FlinkServiceClient,
  type TriggerSavepointRequest,
  WatchSavepointRequest,
} from "../gen/savepoint/flink/v1/flink.js";
import { type Savepoint } from "../gen/savepoint/v1/savepoint.js";
import { isServiceError, waitUntilComplete } from "./client.js";

const DEADLINE_MS = 10_000;

export function connectFlink(address: string, creds: ChannelCredentials): FlinkServiceClient {
  return new FlinkServiceClient(address, creds, { "grpc.keepalive_time_ms": 30_000 });
}

/**
 * Begins a savepoint and returns its trigger id. With the same idempotency key a second call begins
 * no second savepoint, so a call whose outcome is unknown can be made again.
 */
export function triggerSavepoint(
  client: FlinkServiceClient, request: TriggerSavepointRequest,
): Promise<string> {
  const options = { deadline: Date.now() + DEADLINE_MS };
  return new Promise((resolve, reject) =>
    client.triggerSavepoint(request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response.triggerId)));
}

/**
 * Begins a savepoint and waits until it is complete. One that failed rejects with
 * SavepointFailedError.
 */
export async function takeSavepoint(
  client: FlinkServiceClient, request: TriggerSavepointRequest, timeoutMs: number,
): Promise<Savepoint> {
  const keyed = { ...request, idempotencyKey: request.idempotencyKey || randomUUID() };
  const triggerId = await triggerSavepoint(client, keyed).catch((error: unknown) => {
    if (!isServiceError(error) || error.code !== status.UNAVAILABLE) throw error;
    // Once more. It has the same key, so whatever became of the first one, there is one savepoint.
    return triggerSavepoint(client, keyed);
  });
  const { cluster, jobId } = request;
  const watch = WatchSavepointRequest.create({ cluster, jobId, triggerId });
  return waitUntilComplete(
    (options) => client.watchSavepoint(watch, new Metadata(), options), timeoutMs);
}
