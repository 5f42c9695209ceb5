// The page in a real browser, against a gateway that lets the page's origin in.
//
// The gateway at SAVEPOINT_GATEWAY_ADDRESS must stand before examples/fake_provider.py, whose head
// lists the ids used here, and end each watch after two seconds. The one at SAVEPOINT_DEMO_ADDRESS
// is `savepoint-gateway demo`. The one at SAVEPOINT_RESTARTING_ADDRESS is like the first one,
// without that limit, and drained and started again every two seconds. All must have been started
// with `--grpc-web-allow-origin` naming the origin in SAVEPOINT_WEB_PAGE, where serve.js serves the
// page.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { after, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { servePage } from "../page-server.js";

const address = process.env.SAVEPOINT_GATEWAY_ADDRESS;
const demo = process.env.SAVEPOINT_DEMO_ADDRESS;
const restarting = process.env.SAVEPOINT_RESTARTING_ADDRESS;
const origin = process.env.SAVEPOINT_WEB_PAGE;
const skip = address && demo && restarting && origin
  ? false
  : "SAVEPOINT_WEB_PAGE or an address is not set: nothing to open";

const screenshots = fileURLToPath(new URL("../../../target/examples-web", import.meta.url));

describe("the page", { skip }, () => {
  let browser;
  let page;
  const complaints = [];

  before(async () => {
    await mkdir(screenshots, { recursive: true });
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      // Without the last three it looks for updates and accounts. Its profile is new and empty.
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    page = await browser.newPage({ viewport: { width: 1200, height: 860 } });
    page.on("pageerror", (error) => complaints.push(String(error)));
  });

  beforeEach(() => open(address));

  after(async () => {
    await browser?.close();
  });

  const open = (gateway) => page.goto(`${origin}/?gateway=http://${gateway}`);

  const random = () => randomInt(2 ** 47);

  /** Fills a form's fields, sends it, and reads what the page then shows, by name. */
  async function send(formId, fields, onPage = page) {
    const form = onPage.locator(`#${formId}`);
    for (const [name, value] of Object.entries(fields)) {
      await form.locator(`[name=${name}]`).fill(value);
    }
    await form.locator("button").click();
    const output = form.locator("output[data-outcome]");
    await output.waitFor({ timeout: 30_000 });
    const names = await output.locator("dt").allTextContents();
    const values = await output.locator("dd").allTextContents();
    const shown = Object.fromEntries(names.map((name, index) => [name, values[index]]));
    return { outcome: await output.getAttribute("data-outcome"), shown };
  }

  async function done(formId, fields) {
    const { outcome, shown } = await send(formId, fields);
    assert.equal(outcome, "done", JSON.stringify(shown));
    return shown;
  }

  async function failed(code, formId, fields) {
    const { outcome, shown } = await send(formId, fields);
    assert.equal(outcome, "failed", JSON.stringify(shown));
    assert.equal(shown.code, code, JSON.stringify(shown));
    return shown;
  }

  test("both documented calls are answered", async () => {
    const imported = await done("import", {});
    assert.equal(imported.message, "The job is successfully updated.");
    assert.equal(imported["the provider's request id"], "fake-huawei-request");

    const savepoint = await done("get", {});
    assert.equal(savepoint.state, "COMPLETED");
    assert.equal(savepoint.origin, "USER_REQUEST");
    assert.equal(savepoint.created, "2022-07-29T03:51:51.000Z");
    assert.equal(savepoint["native format"], "true");
    await page.screenshot({ path: `${screenshots}/answers.png`, fullPage: true });
  });

  test("int64 beyond 2^53 is exact", async () => {
    for (const jobId of ["9007199254740993", "9223372036854775807"]) {
      const { message } = await done("import", { jobId });
      assert.equal(message, `path ${jobId}, body ${jobId}`);
    }
  });

  test("Unicode arrives intact both ways", async () => {
    const savepointPath = "obs://桶/保存点 é/";
    const { message } = await done("import", { jobId: "300", savepointPath });
    assert.equal(message, `已导入 ${savepointPath} ✓`);
  });

  test("unknown enum text is unspecified and kept", async () => {
    const shown = await done("get", { savepointId: "unknown-enums" });
    assert.equal(shown.state, "UNSPECIFIED");
    assert.equal(shown["state, the provider's word"], "HALF_DONE");
    assert.equal(shown.origin, "UNSPECIFIED");
    assert.equal(shown["origin, the provider's word"], "COSMIC_RAY");
  });

  test("absent optionals are absent, and false is not", async () => {
    for (const savepointId of ["sparse", "nulls"]) {
      const shown = await done("get", { savepointId });
      for (const name of ["native format", "stopped with drain", "state", "created", "changed"]) {
        assert.equal(shown[name], "absent", name);
      }
    }
    const shown = await done("get", { savepointId: "false-optionals" });
    assert.equal(shown["native format"], "false");
    assert.equal(shown["stopped with drain"], "false");
  });

  test("milliseconds become Timestamps", async () => {
    const shown = await done("get", { savepointId: "milliseconds" });
    assert.equal(shown.created, "2024-03-28T17:30:09.620Z");
    assert.equal(shown.changed, "2024-03-28T17:30:10.001Z");
  });

  test("a failed savepoint is an answer", async () => {
    const shown = await done("get", { savepointId: "failed" });
    assert.equal(shown.state, "FAILED");
    assert.equal(shown.failure, "保存点失败 – żółć 💥");
  });

  test("GetSavepoint is retried when unavailable, ImportSavepoint is not", async () => {
    // The gateway alone makes at most three attempts; the fourth is the page's.
    const shown = await done("get", { savepointId: `flaky-3-${random()}` });
    assert.equal(shown.description, "answered at call 4");

    const jobId = String(randomInt(503_000_000, 504_000_000));
    const failure = await failed("Unavailable", "import", { jobId });
    assert.equal(failure.outcome, "unknown");
    assert.equal(failure.providerMessage, `call 1 of job ${jobId}`);
  });

  test("the details of errors are shown", async () => {
    const reported = await failed("FailedPrecondition", "import", { jobId: "400" });
    assert.equal(reported.providerMessage, "作业正在运行 – läuft noch 🚫");

    const throttled = await failed("ResourceExhausted", "get", { savepointId: "throttled" });
    assert.equal(throttled.reason, "PROVIDER_THROTTLED of savepoint-gateway");
    assert.equal(throttled["try again in"], "3600 s");

    const absent = await failed("NotFound", "get", { savepointId: "no-such-savepoint" });
    assert.equal(absent.providerCode, "990301");
    assert.equal(absent["the provider's request id"], "FAKE-ALIBABA-REQUEST");

    const empty = await failed("InvalidArgument", "import", { jobId: "", savepointPath: "" });
    assert.equal(empty.reason, "INVALID_REQUEST of savepoint-gateway");
    assert.equal(empty.outcome, "not_applied");
    assert.ok(empty["field job_id"] && empty["field savepoint_path"], JSON.stringify(empty));
    await page.screenshot({ path: `${screenshots}/failures.png`, fullPage: true });
  });

  test("a job is resumed from the imported savepoint", async () => {
    await open(demo);
    // Beyond 2^53, which a number would round.
    const jobId = `9007199${randomInt(10 ** 8, 10 ** 9)}1`;
    await done("import", { jobId });
    const running = await done("resume", { jobId });
    assert.equal(running.job, jobId);
    assert.equal(running.state, "RUNNING");
    // The simulated DLI tells here what the job was started from.
    assert.equal(running["about the state"], "started from obs://bucket-name/dir/savepoint/");
  });

  test("job control that is off is told by its reason", async () => {
    const { outcome, shown } = await send("resume", { jobId: "500" });
    assert.equal(outcome, "failed", JSON.stringify(shown));
    assert.equal(shown["what to do"], "start the job in the console of DLI");
  });

  test("a savepoint is created, watched and listed", async () => {
    await open(demo);
    const deploymentId = `deployment-${random()}`;
    const created = await done("create", { deploymentId });
    assert.equal(created.state, "STARTED");
    assert.equal(created.description, "before the upgrade");
    const complete = await done("watch", {});
    assert.equal(complete.savepoint, created.savepoint);
    assert.equal(complete.state, "COMPLETED");
    const listed = await done("list", { deploymentId });
    assert.deepEqual(listed, { [created.savepoint]: "COMPLETED" });
    await page.screenshot({ path: `${screenshots}/journey.png`, fullPage: true });
  });

  test("a savepoint that fails is a failure", async () => {
    await open(demo);
    await done("create", { deploymentId: "simulate-failed-savepoint" });
    const { outcome, shown } = await send("watch", {});
    assert.equal(outcome, "failed", JSON.stringify(shown));
    assert.match(shown.message, /is FAILED: create savepoint failed$/);
  });

  test("a watch of an unknown savepoint ends at once", async () => {
    await open(demo);
    const shown = await failed("NotFound", "watch", { savepointId: "simulate-not-found" });
    assert.equal(shown.reason, "PROVIDER_NOT_FOUND of savepoint-gateway");
  });

  test("all pages are listed", async () => {
    await open(demo);
    const deploymentId = `deployment-${random()}`;
    const created = [];
    for (let count = 0; count < 3; count++) {
      created.push((await done("create", { deploymentId })).savepoint);
    }
    const listed = await done("list", { deploymentId, pageSize: "1" });
    assert.deepEqual(Object.keys(listed), created);
  });

  test("CreateSavepoint is never retried, and a list tells its outcome", async () => {
    const deploymentId = `unavailable-${random()}`;
    const failure = await failed("Unavailable", "create", { deploymentId });
    assert.equal(failure.outcome, "unknown");
    const listed = await done("list", { deploymentId });
    assert.equal(Object.keys(listed).length, 1);
  });

  test("a watch goes on when unavailable", async () => {
    // The gateway alone makes at most three attempts; the others are the loop's.
    const complete = await done("watch", { savepointId: `flaky-4-${random()}`, limit: "20" });
    assert.equal(complete.description, "answered at call 5");
  });

  test("a watch goes on after the gateway's limit", async () => {
    const complete = await done("watch", { savepointId: `started-5-${random()}`, limit: "20" });
    assert.equal(complete.state, "COMPLETED");
  });

  test("a watch goes on after a restart", async () => {
    await open(restarting);
    // One watch alone would take half a minute for as many calls.
    const complete = await done("watch", { savepointId: `started-7-${random()}`, limit: "20" });
    assert.equal(complete.state, "COMPLETED");
  });

  test("the caller's limit ends a watch", async () => {
    // Beyond the gateway's limit, so that it is watched again before.
    const began = performance.now();
    await failed("DeadlineExceeded", "watch", { savepointId: "started-1000000-limit", limit: "3" });
    assert.ok(performance.now() - began < 5_000);
  });

  test("a page of another origin gets nothing", async () => {
    const other = await servePage();
    const stranger = await browser.newPage();
    try {
      await stranger.goto(`${other.origin}/?gateway=http://${address}`);
      const { outcome, shown } = await send("get", {}, stranger);
      assert.equal(outcome, "failed", JSON.stringify(shown));
      assert.equal(shown.reason, undefined, JSON.stringify(shown));
      assert.match(shown.message, /fetch/i);
    } finally {
      await stranger.close();
      other.server.close();
    }
  });

  test("the page itself had nothing to complain about", () => {
    assert.deepEqual(complaints, []);
  });
});
