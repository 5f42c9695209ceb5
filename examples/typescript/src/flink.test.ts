// Savepoints on Apache Flink, with the simulated cluster of `savepoint-gateway demo`.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, describe, test } from "node:test";

import { status } from "@grpc/grpc-js";

import { TriggerSavepointRequest } from "../gen/savepoint/flink/v1/flink.js";
import { SavepointState } from "../gen/savepoint/v1/savepoint.js";
import { credentialsFromEnvironment, isServiceError } from "./client.js";
import { connectFlink, takeSavepoint, triggerSavepoint } from "./flink.js";

const demo = process.env["SAVEPOINT_DEMO_ADDRESS"] ?? "";

describe("Apache Flink", { skip: demo ? false : "no gateway to call" }, () => {
  const client = connectFlink(demo, credentialsFromEnvironment());
  after(() => client.close());

  const request = () => TriggerSavepointRequest.create({
    jobId: `f${randomBytes(16).toString("hex").slice(1)}`,
    targetDirectory: "s3://bucket/savepoints",
  });

  test("a savepoint is begun, and watched until it is complete", async () => {
    const savepoint = await takeSavepoint(client, request(), 30_000);
    assert.equal(savepoint.status?.state, SavepointState.SAVEPOINT_STATE_COMPLETED);
    assert.match(savepoint.savepointLocation, /^s3:\/\/bucket\/savepoints/);
  });

  test("the same key begins one savepoint", async () => {
    const keyed = { ...request(), idempotencyKey: "before-the-upgrade" };
    const first = await triggerSavepoint(client, keyed);
    assert.equal(await triggerSavepoint(client, keyed), first);
    const other = await triggerSavepoint(client, { ...keyed, idempotencyKey: "another" });
    assert.notEqual(other, first);
  });

  test("an invalid request is refused at once", async () => {
    await assert.rejects(
      takeSavepoint(client, { ...request(), jobId: "no hexadecimal digits" }, 30_000),
      (error: unknown) => isServiceError(error) && error.code === status.INVALID_ARGUMENT);
  });
});
