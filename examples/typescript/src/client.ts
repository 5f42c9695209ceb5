import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import {
  ChannelCredentials,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";

import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "../gen/google/rpc/error_details.js";
import { Status } from "../gen/google/rpc/status.js";
import {
  type CreateSavepointRequest,
  type CreateSavepointResponse,
  type GetSavepointRequest,
  type GetSavepointResponse,
  type ImportSavepointRequest,
  type ImportSavepointResponse,
  type ListSavepointsRequest,
  type ListSavepointsResponse,
  type Savepoint,
  SavepointServiceClient,
  SavepointState,
  type WatchSavepointRequest,
} from "../gen/savepoint/v1/savepoint.js";

const DEADLINE_MS = 10_000;

// The calls that the library may repeat by itself. ImportSavepoint and CreateSavepoint are left
// out: after an UNAVAILABLE they may have changed something, and only the caller can know whether
// to repeat them. So is WatchSavepoint: watchSavepoint repeats it, also after its first message.
export const SERVICE_CONFIG = `
{"methodConfig": [{
  "name": [
    {"service": "savepoint.v1.SavepointService", "method": "GetSavepoint"},
    {"service": "savepoint.v1.SavepointService", "method": "ListSavepoints"},
    {"service": "savepoint.dli.v1.DliService", "method": "GetJob"},
    {"service": "savepoint.flink.v1.FlinkService", "method": "GetSavepoint"},
    {"service": "savepoint.flink.v1.FlinkService", "method": "GetJob"}
  ],
  "retryPolicy": {
    "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]}
`;

/** The details of an error. Each kind comes at most once. */
export interface Details {
  errorInfo?: ErrorInfo;
  badRequest?: BadRequest;
  requestInfo?: RequestInfo;
  retryInfo?: RetryInfo;
}

// snippet:begin
// A watch that ends with one of these says nothing about its savepoint.
const WATCH_AGAIN: unknown[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED];
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;

/** A watch has ended, and its savepoint is not complete. */
export class SavepointFailedError extends Error {
  constructor(readonly savepoint?: Savepoint) {
    const { providerState, failure } = savepoint?.status ?? {};
    super(`savepoint ${savepoint?.savepointId} is ${providerState}: ${failure?.message ?? ""}`);
  }
}

export function connect(address: string, creds: ChannelCredentials): SavepointServiceClient {
  return new SavepointServiceClient(address, creds, {
    "grpc.service_config": SERVICE_CONFIG,
    // Finds connections that are dead, which a watch alone would not notice.
    "grpc.keepalive_time_ms": 30_000,
  });
}

export function getSavepoint(
  client: SavepointServiceClient, request: GetSavepointRequest, timeoutMs = DEADLINE_MS,
): Promise<GetSavepointResponse> {
  const options = { deadline: Date.now() + timeoutMs };
  return new Promise((resolve, reject) =>
    client.getSavepoint(request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response)));
}

/** Never repeated: if the outcome is unknown, listSavepoints of the deployment tells it. */
export function createSavepoint(
  client: SavepointServiceClient, request: CreateSavepointRequest,
): Promise<CreateSavepointResponse> {
  const options = { deadline: Date.now() + DEADLINE_MS };
  return new Promise((resolve, reject) =>
    client.createSavepoint(request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response)));
}

/** Waits until the savepoint is complete. One that failed rejects with SavepointFailedError. */
export function watchSavepoint(
  client: SavepointServiceClient, request: WatchSavepointRequest, timeoutMs: number,
): Promise<Savepoint> {
  return waitUntilComplete(
    (options) => client.watchSavepoint(request, new Metadata(), options), timeoutMs);
}

/** The same with any call that sends savepoints. */
export async function waitUntilComplete(
  begin: (options: { deadline: number }) => AsyncIterable<{ savepoint?: Savepoint | undefined }>,
  timeoutMs: number,
): Promise<Savepoint> {
  const deadline = Date.now() + timeoutMs;
  for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
    let savepoint: Savepoint | undefined;
    try {
      for await (const message of begin({ deadline })) {
        savepoint = message.savepoint;
        backoffMs = FIRST_BACKOFF_MS;
      }
    } catch (error) {
      // Jitter, because many watches may have ended together.
      const waitMs = backoffMs * (1 + Math.random()) / 2;
      const again = isServiceError(error) && WATCH_AGAIN.includes(error.code);
      if (!again || Date.now() + waitMs >= deadline) throw error;
      await sleep(waitMs);
      continue;
    }
    if (savepoint?.status?.state === SavepointState.SAVEPOINT_STATE_COMPLETED) return savepoint;
    throw new SavepointFailedError(savepoint);
  }
}

/** The savepoints of all pages. */
export async function* listSavepoints(
  client: SavepointServiceClient, request: ListSavepointsRequest,
): AsyncGenerator<Savepoint> {
  let pageToken = "";
  do {
    const options = { deadline: Date.now() + DEADLINE_MS };
    const page = await new Promise<ListSavepointsResponse>((resolve, reject) =>
      client.listSavepoints({ ...request, pageToken }, new Metadata(), options, (error, response) =>
        error ? reject(error) : resolve(response)));
    yield* page.savepoints;
    pageToken = page.nextPageToken;
  } while (pageToken);
}

export function detailsOf(error: ServiceError): Details {
  const details: Details = {};
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  for (const { typeUrl, value } of bytes ? Status.decode(bytes as Buffer).details : []) {
    const type = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
    if (type === "google.rpc.ErrorInfo") details.errorInfo = ErrorInfo.decode(value);
    if (type === "google.rpc.BadRequest") details.badRequest = BadRequest.decode(value);
    if (type === "google.rpc.RequestInfo") details.requestInfo = RequestInfo.decode(value);
    if (type === "google.rpc.RetryInfo") details.retryInfo = RetryInfo.decode(value);
  }
  return details;
}
// snippet:end

export function importSavepoint(
  client: SavepointServiceClient, request: ImportSavepointRequest,
): Promise<ImportSavepointResponse> {
  const options = { deadline: Date.now() + DEADLINE_MS };
  return new Promise((resolve, reject) =>
    client.importSavepoint(request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response)));
}

export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

/** Plaintext, which belongs on loopback only, when SAVEPOINT_GATEWAY_CA is not set. */
export function credentialsFromEnvironment(): ChannelCredentials {
  const pem = (variable: string): Buffer | null => {
    const path = process.env[variable];
    return path ? readFileSync(path) : null;
  };
  const ca = pem("SAVEPOINT_GATEWAY_CA");
  if (ca === null) {
    return credentials.createInsecure();
  }
  return credentials.createSsl(
    ca, pem("SAVEPOINT_GATEWAY_CLIENT_KEY"), pem("SAVEPOINT_GATEWAY_CLIENT_CERT"));
}
