// Calls every RPC of a running savepoint gateway and prints what comes back.

import { type ServiceError, status } from "@grpc/grpc-js";

import {
  CreateSavepointRequest,
  GetSavepointRequest,
  ImportSavepointRequest,
  ListSavepointsRequest,
  type Savepoint,
  SavepointState,
  WatchSavepointRequest,
} from "../gen/savepoint/v1/savepoint.js";
import {
  connect,
  createSavepoint,
  credentialsFromEnvironment,
  detailsOf,
  getSavepoint,
  importSavepoint,
  isServiceError,
  listSavepoints,
  SavepointFailedError,
  watchSavepoint,
} from "./client.js";

function printSavepoint(savepoint: Savepoint): void {
  const state = savepoint.status?.state ?? SavepointState.SAVEPOINT_STATE_UNSPECIFIED;
  const providerState = savepoint.status?.providerState ?? "";
  console.log(`  ${savepoint.savepointId}: ${SavepointState[state]} (${providerState})`);
  if (savepoint.savepointLocation) {
    console.log(`  at ${savepoint.savepointLocation}`);
  }
  if (savepoint.createTime) {
    console.log(`  created ${savepoint.createTime.toISOString()}`);
  }
  if (savepoint.nativeFormat !== undefined) {
    console.log(`  native format: ${savepoint.nativeFormat}`);
  }
}

function printFailure(error: ServiceError): void {
  console.log(`  ${status[error.code]}: ${error.details}`);
  const { errorInfo, badRequest, requestInfo, retryInfo } = detailsOf(error);
  if (errorInfo) {
    console.log(`  reason ${errorInfo.reason} of ${errorInfo.domain}`);
    for (const [key, value] of Object.entries(errorInfo.metadata).sort()) {
      console.log(`    ${key}: ${value}`);
    }
  }
  for (const { field, description } of badRequest?.fieldViolations ?? []) {
    console.log(`  field ${field}: ${description}`);
  }
  if (requestInfo) {
    console.log(`  the provider's request id: ${requestInfo.requestId}`);
  }
  if (retryInfo?.retryDelay) {
    console.log(`  try again in ${retryInfo.retryDelay.seconds} s`);
  }
}

async function main(): Promise<number> {
  const address = process.env["SAVEPOINT_GATEWAY_ADDRESS"] || "127.0.0.1:50051";
  const client = connect(address, credentialsFromEnvironment());
  try {
    console.log("ImportSavepoint");
    const imported = await importSavepoint(client, ImportSavepointRequest.create({
      projectId: "0605767b3300d5762fb7c0186d9e1779",
      // A text, since int64 goes beyond what a number holds exactly.
      jobId: "137228",
      savepointPath: "obs://bucket-name/dir/savepoint/",
    }));
    console.log(`  ${imported.message} (request ${imported.requestId})`);

    console.log("GetSavepoint");
    const { savepoint } = await getSavepoint(client, GetSavepointRequest.create({
      workspace: "a14bd5d90a0001",
      namespace: "default-namespace",
      savepointId: "88a8fc49-e090-430a-85d8-3ee8c79c0001",
    }));
    if (savepoint) {
      printSavepoint(savepoint);
    }

    console.log("CreateSavepoint");
    const { savepoint: created } = await createSavepoint(client, CreateSavepointRequest.create({
      workspace: "a14bd5d90a0001",
      namespace: "default-namespace",
      deploymentId: "58718c99-3b29-4c5e-93bb-c9fc4ec60001",
      description: "before the upgrade",
    }));
    if (created) {
      printSavepoint(created);
    }

    console.log("WatchSavepoint");
    const complete = await watchSavepoint(client, WatchSavepointRequest.create({
      workspace: "a14bd5d90a0001",
      namespace: "default-namespace",
      savepointId: created?.savepointId,
    }), 600_000);
    printSavepoint(complete);

    console.log("ListSavepoints");
    const listed = listSavepoints(client, ListSavepointsRequest.create({
      workspace: "a14bd5d90a0001",
      namespace: "default-namespace",
      deploymentId: "58718c99-3b29-4c5e-93bb-c9fc4ec60001",
    }));
    for await (const each of listed) {
      printSavepoint(each);
    }

    console.log("ImportSavepoint with an empty request, to show what a failure carries");
    const failure = await importSavepoint(client, ImportSavepointRequest.create())
      .then(() => undefined, (error: unknown) => error);
    if (!isServiceError(failure)) {
      console.log("  it was accepted, which the contract rules out");
      return 1;
    }
    printFailure(failure);
    return 0;
  } catch (error) {
    if (error instanceof SavepointFailedError) {
      console.log(`  ${error.message}`);
    } else if (isServiceError(error)) {
      printFailure(error);
    } else {
      throw error;
    }
    return 1;
  } finally {
    client.close();
  }
}

process.exitCode = await main();
