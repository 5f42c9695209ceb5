import { readFileSync } from "node:fs";

import {
  ChannelCredentials,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";

import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "../gen/google/rpc/error_details.js";
import { Status } from "../gen/google/rpc/status.js";
import {
  type GetSavepointRequest,
  type GetSavepointResponse,
  type ImportSavepointRequest,
  type ImportSavepointResponse,
  SavepointServiceClient,
} from "../gen/savepoint/v1/savepoint.js";

const DEADLINE_MS = 10_000;

// GetSavepoint has no side effects and may be repeated. ImportSavepoint is left out: after an
// UNAVAILABLE its job may have been changed, and only the caller can know whether to repeat it.
const SERVICE_CONFIG = JSON.stringify({
  methodConfig: [
    {
      name: [{ service: "savepoint.v1.SavepointService", method: "GetSavepoint" }],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: "0.1s",
        maxBackoff: "1s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
});

/** The details of an error. Each kind comes at most once. */
export interface Details {
  errorInfo?: ErrorInfo;
  badRequest?: BadRequest;
  requestInfo?: RequestInfo;
  retryInfo?: RetryInfo;
}

// snippet:begin
export function connect(address: string, creds: ChannelCredentials): SavepointServiceClient {
  return new SavepointServiceClient(address, creds, { "grpc.service_config": SERVICE_CONFIG });
}

export function getSavepoint(
  client: SavepointServiceClient, request: GetSavepointRequest, timeoutMs = DEADLINE_MS,
): Promise<GetSavepointResponse> {
  const options = { deadline: Date.now() + timeoutMs };
  return new Promise((resolve, reject) =>
    client.getSavepoint(request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response)));
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
