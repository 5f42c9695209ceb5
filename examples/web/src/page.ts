import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { DliService, type Job, JobState } from "../gen/savepoint/dli/v1/dli_pb";
import { type Savepoint, SavepointOrigin, SavepointState } from "../gen/savepoint/v1/savepoint_pb";
import {
  connect,
  connectTo,
  detailsOf,
  listSavepoints,
  SavepointFailedError,
  watchSavepoint,
} from "./client";
import { JobControlDisabledError, JobFailedError, resumeJob } from "./jobs";

type Row = [name: string, value: string];

function element<T extends HTMLElement>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (found === null) {
    throw new Error(`the page has no ${selector}`);
  }
  return found;
}

function show(output: HTMLElement, outcome: "done" | "failed", rows: Row[]): void {
  const list = document.createElement("dl");
  for (const [name, value] of rows) {
    const term = document.createElement("dt");
    term.textContent = name;
    const description = document.createElement("dd");
    description.textContent = value;
    list.append(term, description);
  }
  output.replaceChildren(list);
  output.dataset["outcome"] = outcome;
}

function savepointRows(savepoint: Savepoint): Row[] {
  const orAbsent = (value: unknown): string => (value === undefined ? "absent" : String(value));
  const time = (value?: Timestamp): string =>
    orAbsent(value && timestampDate(value).toISOString());
  return [
    ["savepoint", savepoint.savepointId],
    ["state", savepoint.status ? SavepointState[savepoint.status.state] : "absent"],
    ["state, the provider's word", savepoint.status?.providerState ?? "absent"],
    ["failure", savepoint.status?.failure?.message ?? "absent"],
    ["origin", SavepointOrigin[savepoint.origin]],
    ["origin, the provider's word", savepoint.providerOrigin],
    ["native format", orAbsent(savepoint.nativeFormat)],
    ["stopped with drain", orAbsent(savepoint.stopWithDrainEnabled)],
    ["description", savepoint.description],
    ["location", savepoint.savepointLocation],
    ["created", time(savepoint.createTime)],
    ["changed", time(savepoint.updateTime)],
  ];
}

function jobRows(job: Job): Row[] {
  return [
    ["job", String(job.jobId)],
    ["state", JobState[job.state]],
    ["state, the provider's word", job.providerState],
    ["about the state", job.stateDescription],
    ["savepoint", job.savepointPath],
  ];
}

function failureRows(error: unknown): Row[] {
  if (error instanceof JobControlDisabledError) {
    return [["message", error.message], ["what to do", "start the job in the console of DLI"]];
  }
  if (error instanceof SavepointFailedError || error instanceof JobFailedError) {
    return [["message", error.message]];
  }
  const failure = ConnectError.from(error);
  const { errorInfo, badRequest, requestInfo, retryInfo } = detailsOf(failure);
  const rows: Row[] = [
    ["code", Code[failure.code]],
    ["message", failure.rawMessage],
  ];
  if (errorInfo) {
    rows.push(["reason", `${errorInfo.reason} of ${errorInfo.domain}`]);
    rows.push(...Object.entries(errorInfo.metadata).sort());
  }
  for (const { field, description } of badRequest?.fieldViolations ?? []) {
    rows.push([`field ${field}`, description]);
  }
  if (requestInfo) {
    rows.push(["the provider's request id", requestInfo.requestId]);
  }
  if (retryInfo?.retryDelay) {
    rows.push(["try again in", `${retryInfo.retryDelay.seconds} s`]);
  }
  return rows;
}

/** Runs `call` with the form's fields on submit, and shows what comes back beneath the form. */
function answer(formId: string, call: (fields: Record<string, string>) => Promise<Row[]>): void {
  const form = element<HTMLFormElement>(`#${formId}`);
  const output = element<HTMLOutputElement>(`#${formId} output`);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    delete output.dataset["outcome"];
    output.textContent = "calling…";
    const fields = Object.fromEntries(
      [...new FormData(form)].map(([name, value]) => [name, String(value)]));
    try {
      show(output, "done", await call(fields));
    } catch (error) {
      show(output, "failed", failureRows(error));
    }
  });
}

const gateway = element<HTMLInputElement>("#gateway");
gateway.value = new URLSearchParams(location.search).get("gateway") ?? gateway.value;

answer("import", async ({ projectId = "", jobId = "", savepointPath = "" }) => {
  // The job id stays a text from the field to the wire: a number would round it beyond 2^53.
  const request = { projectId, jobId: jobId || "0", savepointPath };
  const { message, requestId } = await connect(gateway.value).importSavepoint(request);
  return [["message", message], ["the provider's request id", requestId]];
});

answer("resume", async ({ projectId = "", jobId = "" }) => {
  const request = { projectId, jobId: jobId || "0" };
  return jobRows(await resumeJob(connectTo(DliService, gateway.value), request, 600_000));
});

answer("get", async ({ workspace = "", namespace = "", savepointId = "" }) => {
  const request = { workspace, namespace, savepointId };
  const { savepoint } = await connect(gateway.value).getSavepoint(request);
  return savepoint ? savepointRows(savepoint) : [];
});

answer("create", async (fields) => {
  const { workspace = "", namespace = "", deploymentId = "", description = "" } = fields;
  const request = { workspace, namespace, deploymentId, description };
  const { savepoint } = await connect(gateway.value).createSavepoint(request);
  element<HTMLInputElement>("#watch [name=savepointId]").value = savepoint?.savepointId ?? "";
  return savepoint ? savepointRows(savepoint) : [];
});

answer("watch", async ({ workspace = "", namespace = "", savepointId = "", limit = "" }) => {
  const request = { workspace, namespace, savepointId };
  return savepointRows(
    await watchSavepoint(connect(gateway.value), request, Number(limit) * 1_000));
});

answer("list", async ({ workspace = "", namespace = "", deploymentId = "", pageSize = "" }) => {
  const request = { workspace, namespace, deploymentId, pageSize: Number(pageSize) };
  const rows: Row[] = [];
  for await (const savepoint of listSavepoints(connect(gateway.value), request)) {
    rows.push([savepoint.savepointId, savepoint.status?.providerState ?? "absent"]);
  }
  return rows;
});
