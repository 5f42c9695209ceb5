// The contract as a TypeScript caller sees it. The gateway at SAVEPOINT_GATEWAY_ADDRESS must stand
// before examples/fake_provider.py, whose head lists the ids used here, and end each watch after
// two seconds. The one at SAVEPOINT_DEMO_ADDRESS is `savepoint-gateway demo`. The one at
// SAVEPOINT_RESTARTING_ADDRESS is like the first one, without that limit, and drained and started
// again every two seconds.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, describe, test } from "node:test";

import { status } from "@grpc/grpc-js";

import {
  CreateSavepointRequest,
  GetSavepointRequest,
  ImportSavepointRequest,
  ListSavepointsRequest,
  type Savepoint,
  SavepointOrigin,
  type SavepointServiceClient,
  SavepointState,
  WatchSavepointRequest,
} from "../gen/savepoint/v1/savepoint.js";
import {
  connect,
  createSavepoint,
  credentialsFromEnvironment,
  type Details,
  detailsOf,
  getSavepoint,
  importSavepoint,
  isServiceError,
  listSavepoints,
  SavepointFailedError,
  watchSavepoint,
} from "./client.js";

const addresses = ["GATEWAY", "DEMO", "RESTARTING"].map(
  (name) => process.env[`SAVEPOINT_${name}_ADDRESS`] ?? "");
const skip = addresses.includes("") ? "no gateway to call: an address is not set" : false;

describe("the contract", { skip }, () => {
  const [client, demo, restarting] = addresses.map(
    (address) => connect(address, credentialsFromEnvironment()),
  ) as [SavepointServiceClient, SavepointServiceClient, SavepointServiceClient];
  after(() => [client, demo, restarting].forEach((each) => each.close()));

  const importJob = (jobId: string, savepointPath = "obs://bucket-name/dir/savepoint/") =>
    importSavepoint(client, ImportSavepointRequest.create({ jobId, savepointPath }));

  async function get(savepointId: string): Promise<Savepoint> {
    const request = GetSavepointRequest.create({ namespace: "default-namespace", savepointId });
    const { savepoint } = await getSavepoint(client, request);
    assert.ok(savepoint);
    return savepoint;
  }

  async function create(on: SavepointServiceClient, deploymentId: string): Promise<Savepoint> {
    const request = CreateSavepointRequest.create({ namespace: "default-namespace", deploymentId });
    const { savepoint } = await createSavepoint(on, request);
    assert.ok(savepoint);
    return savepoint;
  }

  function watch(on: SavepointServiceClient, savepointId: string, timeoutMs = 20_000) {
    const request = WatchSavepointRequest.create({ namespace: "default-namespace", savepointId });
    return watchSavepoint(on, request, timeoutMs);
  }

  async function list(on: SavepointServiceClient, deploymentId: string): Promise<Savepoint[]> {
    const request = ListSavepointsRequest.create({
      namespace: "default-namespace", deploymentId, pageSize: 1,
    });
    const savepoints = [];
    for await (const savepoint of listSavepoints(on, request)) {
      savepoints.push(savepoint);
    }
    return savepoints;
  }

  const random = () => randomInt(2 ** 47);

  /** The details of a call that must fail with `code`. */
  async function failure(code: status, call: Promise<unknown>): Promise<Details> {
    const error = await call.then(() => assert.fail("it succeeded"), (reason: unknown) => reason);
    assert.ok(isServiceError(error), String(error));
    assert.equal(status[error.code], status[code], error.message);
    const details = detailsOf(error);
    assert.equal(details.errorInfo?.domain, "savepoint-gateway");
    return details;
  }

  test("documented answers arrive whole", async () => {
    assert.deepEqual(await importJob("137228"), {
      message: "The job is successfully updated.",
      requestId: "fake-huawei-request",
    });
    const savepoint = await get("88a8fc49-e090-430a-85d8-3ee8c79c0001");
    assert.equal(savepoint.status?.state, SavepointState.SAVEPOINT_STATE_COMPLETED);
    assert.equal(savepoint.origin, SavepointOrigin.SAVEPOINT_ORIGIN_USER_REQUEST);
    assert.equal(savepoint.createTime?.toISOString(), "2022-07-29T03:51:51.000Z");
    assert.equal(savepoint.updateTime?.toISOString(), "2022-07-29T03:51:52.000Z");
    assert.equal(savepoint.nativeFormat, true);
  });

  test("int64 beyond 2^53 is exact", async () => {
    for (const jobId of ["9007199254740993", "9223372036854775807"]) {
      assert.equal((await importJob(jobId)).message, `path ${jobId}, body ${jobId}`);
    }
  });

  test("Unicode arrives intact both ways", async () => {
    const path = "obs://桶/保存点 é/";
    assert.equal((await importJob("300", path)).message, `已导入 ${path} ✓`);
  });

  test("unknown enum text is unspecified and kept", async () => {
    const savepoint = await get("unknown-enums");
    assert.equal(savepoint.status?.state, SavepointState.SAVEPOINT_STATE_UNSPECIFIED);
    assert.equal(savepoint.status.providerState, "HALF_DONE");
    assert.equal(savepoint.origin, SavepointOrigin.SAVEPOINT_ORIGIN_UNSPECIFIED);
    assert.equal(savepoint.providerOrigin, "COSMIC_RAY");
  });

  test("absent optionals are absent", async () => {
    for (const savepointId of ["sparse", "nulls"]) {
      const savepoint = await get(savepointId);
      assert.equal(savepoint.savepointId, savepointId);
      assert.equal(savepoint.nativeFormat, undefined);
      assert.equal(savepoint.stopWithDrainEnabled, undefined);
      assert.equal(savepoint.status, undefined);
      assert.equal(savepoint.createTime, undefined);
      assert.equal(savepoint.updateTime, undefined);
    }
  });

  test("false is not absent", async () => {
    const savepoint = await get("false-optionals");
    assert.equal(savepoint.nativeFormat, false);
    assert.equal(savepoint.stopWithDrainEnabled, false);
  });

  test("milliseconds become Timestamps", async () => {
    const savepoint = await get("milliseconds");
    assert.equal(savepoint.createTime?.getTime(), 1711647009620);
    assert.equal(savepoint.updateTime?.getTime(), 1711647010001);
  });

  test("a failed savepoint is an answer", async () => {
    assert.deepEqual((await get("failed")).status, {
      state: SavepointState.SAVEPOINT_STATE_FAILED,
      providerState: "FAILED",
      failure: {
        message: "保存点失败 – żółć 💥",
        reason: "IO Exception",
        failTime: new Date(1660000000_000),
      },
    });
  });

  test("every bad field is named", async () => {
    const { badRequest, errorInfo } = await failure(
      status.INVALID_ARGUMENT, importSavepoint(client, ImportSavepointRequest.create()));
    const fields = badRequest?.fieldViolations.map(({ field }) => field).sort();
    assert.deepEqual(fields, ["job_id", "savepoint_path"]);
    assert.equal(errorInfo?.reason, "INVALID_REQUEST");
    assert.equal(errorInfo.metadata["outcome"], "not_applied");
  });

  test("not found carries the provider's words", async () => {
    const { errorInfo, requestInfo } = await failure(status.NOT_FOUND, get("no-such-savepoint"));
    assert.equal(errorInfo?.reason, "PROVIDER_NOT_FOUND");
    assert.equal(errorInfo.metadata["providerCode"], "990301");
    assert.equal(requestInfo?.requestId, "FAKE-ALIBABA-REQUEST");
  });

  test("a reported failure keeps its Unicode message", async () => {
    const { errorInfo } = await failure(status.FAILED_PRECONDITION, importJob("400"));
    assert.equal(errorInfo?.reason, "PROVIDER_REPORTED_FAILURE");
    assert.equal(errorInfo.metadata["providerMessage"], "作业正在运行 – läuft noch 🚫");
  });

  test("a known wait arrives as RetryInfo", async () => {
    for (const call of [() => importJob("429"), () => get("throttled")]) {
      const { errorInfo, retryInfo } = await failure(status.RESOURCE_EXHAUSTED, call());
      assert.equal(errorInfo?.reason, "PROVIDER_THROTTLED");
      assert.equal(retryInfo?.retryDelay?.seconds, "3600");
    }
  });

  test("GetSavepoint is retried when unavailable", async () => {
    // The gateway alone makes at most three attempts; the fourth is the service config's.
    const savepoint = await get(`flaky-3-${random()}`);
    assert.equal(savepoint.description, "answered at call 4");
  });

  test("ImportSavepoint is never retried", async () => {
    const jobId = String(randomInt(503_000_000, 504_000_000));
    const { errorInfo } = await failure(status.UNAVAILABLE, importJob(jobId));
    assert.equal(errorInfo?.metadata["outcome"], "unknown");
    assert.equal(errorInfo.metadata["providerMessage"], `call 1 of job ${jobId}`);
  });

  test("the deadline ends a slow call", async () => {
    const request = GetSavepointRequest.create({ namespace: "n", savepointId: "slow" });
    const began = performance.now();
    const error = await getSavepoint(client, request, 500).then(
      () => assert.fail("it succeeded"), (reason: unknown) => reason);
    assert.ok(isServiceError(error), String(error));
    assert.equal(status[error.code], "DEADLINE_EXCEEDED");
    assert.ok(performance.now() - began < 5_000);
  });

  test("a savepoint is created, watched and listed", async () => {
    const deploymentId = `deployment-${random()}`;
    const created = await create(demo, deploymentId);
    assert.equal(created.status?.state, SavepointState.SAVEPOINT_STATE_STARTED);
    const complete = await watch(demo, created.savepointId);
    assert.equal(complete.status?.state, SavepointState.SAVEPOINT_STATE_COMPLETED);
    assert.equal(complete.deploymentId, deploymentId);
    assert.deepEqual(await list(demo, deploymentId), [complete]);
  });

  test("a savepoint that fails rejects its watch", async () => {
    const created = await create(demo, "simulate-failed-savepoint");
    const error = await watch(demo, created.savepointId).then(
      () => assert.fail("it succeeded"), (reason: unknown) => reason);
    assert.ok(error instanceof SavepointFailedError, String(error));
    assert.equal(error.savepoint?.status?.state, SavepointState.SAVEPOINT_STATE_FAILED);
    assert.equal(error.savepoint.status.failure?.message, "create savepoint failed");
  });

  test("a watch of an unknown savepoint ends at once", async () => {
    const { errorInfo } = await failure(status.NOT_FOUND, watch(demo, "simulate-not-found"));
    assert.equal(errorInfo?.reason, "PROVIDER_NOT_FOUND");
  });

  test("all pages are listed", async () => {
    const deploymentId = `deployment-${random()}`;
    const created = [];
    for (let count = 0; count < 3; count++) {
      created.push((await create(demo, deploymentId)).savepointId);
    }
    const listed = await list(demo, deploymentId);
    assert.deepEqual(listed.map(({ savepointId }) => savepointId), created);
  });

  test("CreateSavepoint is never retried, and a list tells its outcome", async () => {
    const deploymentId = `unavailable-${random()}`;
    const { errorInfo } = await failure(status.UNAVAILABLE, create(client, deploymentId));
    assert.equal(errorInfo?.metadata["outcome"], "unknown");
    assert.equal((await list(client, deploymentId)).length, 1);
  });

  test("a watch goes on when unavailable", async () => {
    // The gateway alone makes at most three attempts; the others are the loop's.
    const complete = await watch(client, `flaky-4-${random()}`);
    assert.equal(complete.description, "answered at call 5");
  });

  test("a watch goes on after the gateway's limit", async () => {
    const complete = await watch(client, `started-5-${random()}`);
    assert.equal(complete.status?.state, SavepointState.SAVEPOINT_STATE_COMPLETED);
  });

  test("a watch goes on after a restart", async () => {
    // One watch alone would take half a minute for as many calls.
    const complete = await watch(restarting, `started-7-${random()}`);
    assert.equal(complete.status?.state, SavepointState.SAVEPOINT_STATE_COMPLETED);
  });

  test("the caller's limit ends a watch", async () => {
    // Beyond the gateway's limit, so that it is watched again before.
    const began = performance.now();
    const error = await watch(client, "started-1000000-limit", 3_000).then(
      () => assert.fail("it succeeded"), (reason: unknown) => reason);
    assert.ok(isServiceError(error), String(error));
    assert.equal(status[error.code], "DEADLINE_EXCEEDED");
    assert.ok(performance.now() - began < 5_000);
  });
});
