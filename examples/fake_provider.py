#!/usr/bin/env python3
"""A provider for contract tests: both REST APIs on loopback, with answers chosen by id.

It checks no signature, so any credential will do. Usage: fake_provider.py [--port N].
It prints one JSON line, {"listening": "http://127.0.0.1:PORT"}, and serves until it is ended.

ImportSavepoint, chosen by job id (X-Request-Id of the answer is always `fake-huawei-request`):
  137228, 137230        the documented success
  9007199254740993,     success spelled "true", as a text; the message repeats the job id of the
  9223372036854775807   path and of the body, digit by digit
  300                   success; a Unicode message that repeats the savepoint path
  400                   HTTP 200 with is_success false and a Unicode message
  429                   HTTP 429 with `Retry-After: 3600`
  503000000..503999999  HTTP 503; the message says how many times this id was called
  any other             HTTP 400, DLI.12004: no such job

GetJob of DLI, chosen by job id:
  500                   a job that could not be submitted, with the reason in Unicode
  any other             a job that was stopped and does not run

GetSavepoint, chosen by savepoint id (requestId of the answer is always `FAKE-ALIBABA-REQUEST`):
  88a8fc49-e090-430a-85d8-3ee8c79c0001   the documented success, every field filled
  unknown-enums         a state and an origin that no contract names
  sparse                data that holds nothing but the savepoint's id
  nulls                 the same, every other field null
  false-optionals       nativeFormat and stopWithDrainEnabled false
  milliseconds          createdAt in milliseconds, modifiedAt a decimal text
  failed                state FAILED with a failure in Unicode
  throttled             HTTP 400 Throttling.User with `x-acs-retry-after: 3600000`
  slow                  an answer that takes 20 seconds
  flaky-N-...           HTTP 503 for the first N calls of this very id, then success; the
                        description says how many calls it took
  started-N-...         state STARTED for the first N calls of this very id, then COMPLETED
  any other             HTTP 200 with success false and errorCode 990301: no such savepoint

CreateSavepoint, chosen by deployment id; ListSavepoints finds what it made:
  unavailable-...       makes the savepoint, but answers HTTP 503
  any other             success; the savepoint's id is one of `started-2-...` above
"""

import argparse
import collections
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JOB_PATH = re.compile(r"/v1\.0/([^/]+)/streaming/jobs/([^/]+)")
IMPORT_PATH = re.compile(r"/v1\.0/([^/]+)/streaming/jobs/([^/]+)/import-savepoint")
GET_PATH = re.compile(r"/api/v2/namespaces/([^/]+)/savepoints/([^/]+)")
LIST_PATH = re.compile(r"/api/v2/namespaces/([^/]+)/savepoints")

HUAWEI_REQUEST_ID = "fake-huawei-request"
ALIBABA_REQUEST_ID = "FAKE-ALIBABA-REQUEST"

SLOW_SECONDS = 20

DOCUMENTED_SAVEPOINT = {
    "savepointId": "88a8fc49-e090-430a-85d8-3ee8c79c0001",
    "deploymentId": "1d716b22-6aad-4be2-85c2-50cfc7570001",
    "jobId": "5af678c0-7db0-4650-94c2-d2604f0a0001",
    "namespace": "default-namespace",
    "savepointOrigin": "USER_REQUEST",
    "nativeFormat": True,
    "description": "before the upgrade",
    "stopWithDrainEnabled": True,
    "savepointLocation": "https://oss/bucket/flink/flink-jobs/namespaces/default-namespace/sp-3285",
    "status": {"state": "COMPLETED", "failure": None},
    "createdAt": 1659066711,
    "modifiedAt": 1659066712,
}


class CallCounter:
    """How often each id was called; the server answers every connection in its own thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self._calls = collections.Counter()

    def next(self, key):
        with self._lock:
            self._calls[key] += 1
            return self._calls[key]


class CreatedSavepoints:
    """What CreateSavepoint made, oldest first. A list shows them as they were made."""

    def __init__(self):
        self._lock = threading.Lock()
        self._all = []

    def add(self, namespace, body):
        with self._lock:
            data = DOCUMENTED_SAVEPOINT | {
                "savepointId": f"started-2-{len(self._all)}",
                "deploymentId": body["deploymentId"],
                "namespace": namespace,
                "description": body.get("description", ""),
                "nativeFormat": body.get("nativeFormat", True),
                "status": {"state": "STARTED", "failure": None},
            }
            self._all.append(data)
            return data

    def page(self, namespace, deployment_id, index, size):
        """One page, and the number of savepoints on all of them."""
        with self._lock:
            fits = [
                data
                for data in self._all
                if data["namespace"] == namespace and deployment_id in ("", data["deploymentId"])
            ]
        return fits[(index - 1) * size : index * size], len(fits)


def import_answer(job_id, body, calls):
    """(HTTP status, headers, JSON) of one import."""
    if job_id in ("137228", "137230"):
        return 200, {}, {"is_success": True, "message": "The job is successfully updated."}
    if job_id in ("9007199254740993", "9223372036854775807"):
        message = f"path {job_id}, body {json.dumps(body.get('job_id'))}"
        return 200, {}, {"is_success": "true", "message": message}
    if job_id == "300":
        return 200, {}, {"is_success": True, "message": f"已导入 {body.get('savepoint_path')} ✓"}
    if job_id == "400":
        return 200, {}, {"is_success": False, "message": "作业正在运行 – läuft noch 🚫"}
    if job_id == "429":
        error = {"error_code": "DLI.0009", "error_msg": "Too many requests."}
        return 429, {"Retry-After": "3600"}, error
    if re.fullmatch(r"503\d{6}", job_id):
        message = f"call {calls.next(job_id)} of job {job_id}"
        return 503, {}, {"error_code": "FAKE.0503", "error_msg": message}
    return 400, {}, {"error_code": "DLI.12004", "error_msg": f"Job {job_id} does not exist."}


def job_answer(job_id):
    """(HTTP status, headers, JSON) of one job of DLI."""
    detail = {"job_id": int(job_id), "name": f"job-{job_id}", "status": "job_cancel_success"}
    if job_id == "500":
        detail |= {"status": "job_submit_fail", "status_desc": "保存点不存在 – brak punktu zapisu 🚫"}
    return 200, {"X-Request-Id": HUAWEI_REQUEST_ID}, {"is_success": "true", "job_detail": detail}


def savepoint_answer(savepoint_id, calls):
    """(HTTP status, headers, JSON) of one savepoint."""
    data = DOCUMENTED_SAVEPOINT | {"savepointId": savepoint_id}
    flaky = re.fullmatch(r"flaky-(\d+)-.+", savepoint_id)
    started = re.fullmatch(r"started-(\d+)-.+", savepoint_id)
    if savepoint_id == DOCUMENTED_SAVEPOINT["savepointId"]:
        pass
    elif savepoint_id == "unknown-enums":
        data |= {"savepointOrigin": "COSMIC_RAY", "status": {"state": "HALF_DONE"}}
    elif savepoint_id == "sparse":
        data = {"savepointId": savepoint_id}
    elif savepoint_id == "nulls":
        data = dict.fromkeys(DOCUMENTED_SAVEPOINT) | {"savepointId": savepoint_id}
    elif savepoint_id == "false-optionals":
        data |= {"nativeFormat": False, "stopWithDrainEnabled": False}
    elif savepoint_id == "milliseconds":
        data |= {"createdAt": 1711647009620, "modifiedAt": "1711647010001"}
    elif savepoint_id == "failed":
        failure = {"message": "保存点失败 – żółć 💥", "reason": "IO Exception"}
        failure |= {"failedAt": 1660000000}
        data |= {"status": {"state": "FAILED", "failure": failure}}
    elif savepoint_id == "throttled":
        return 400, {"x-acs-retry-after": "3600000"}, alibaba_error("Throttling.User", "Slow down.")
    elif savepoint_id == "slow":
        # Real slowness is what is being played here; nobody waits for it to end.
        threading.Event().wait(SLOW_SECONDS)
    elif flaky:
        call = calls.next(savepoint_id)
        if call <= int(flaky[1]):
            return 503, {}, alibaba_error("ServiceUnavailable", f"call {call} of {savepoint_id}")
        data |= {"description": f"answered at call {call}"}
    elif started:
        if calls.next(savepoint_id) <= int(started[1]):
            data |= {"status": {"state": "STARTED", "failure": None}}
    else:
        return 200, {}, savepoint_envelope(False, "990301", f"{savepoint_id} does not exist.", None)
    return 200, {}, savepoint_envelope(True, "", "", data)


def create_answer(namespace, body, created):
    """(HTTP status, headers, JSON) of one creation."""
    data = created.add(namespace, body)
    if body["deploymentId"].startswith("unavailable-"):
        return 503, {}, alibaba_error("ServiceUnavailable", "The answer was lost.")
    return 200, {}, savepoint_envelope(True, "", "", data)


def list_answer(namespace, query, created):
    """(HTTP status, headers, JSON) of one page of a list."""
    index, size = int(query["pageIndex"]), int(query["pageSize"])
    page, total = created.page(namespace, query.get("deploymentId", ""), index, size)
    numbers = {"pageIndex": index, "pageSize": size, "totalSize": total}
    return 200, {}, savepoint_envelope(True, "", "", page) | numbers


def savepoint_envelope(success, error_code, error_message, data):
    return {
        "requestId": ALIBABA_REQUEST_ID,
        "success": success,
        "httpCode": 200,
        "errorCode": error_code,
        "errorMessage": error_message,
        "data": data,
    }


def alibaba_error(code, message):
    return {"RequestId": ALIBABA_REQUEST_ID, "HostId": "fake", "Code": code, "Message": message}


class ProviderHandler(BaseHTTPRequestHandler):
    # Keep-alive, as both providers have it.
    protocol_version = "HTTP/1.1"
    calls = CallCounter()
    created = CreatedSavepoints()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if match := LIST_PATH.fullmatch(self.path):
            self.answer_in_workspace(create_answer, match[1], json.loads(body), self.created)
        elif match := IMPORT_PATH.fullmatch(self.path):
            status, headers, answer = import_answer(match[2], json.loads(body), self.calls)
            self.answer(status, headers | {"X-Request-Id": HUAWEI_REQUEST_ID}, answer)
        else:
            self.answer(404, {}, {"error_code": "APIG.0101", "error_msg": self.path})

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if match := LIST_PATH.fullmatch(path):
            filters = dict(urllib.parse.parse_qsl(query))
            self.answer_in_workspace(list_answer, match[1], filters, self.created)
        elif match := GET_PATH.fullmatch(path):
            self.answer_in_workspace(savepoint_answer, match[2], self.calls)
        elif match := JOB_PATH.fullmatch(path):
            self.answer(*job_answer(match[2]))
        else:
            self.answer(404, {}, alibaba_error("InvalidApi.NotFound", self.path))

    def answer_in_workspace(self, make_answer, *arguments):
        if self.headers.get("workspace"):
            self.answer(*make_answer(*arguments))
        else:
            self.answer(400, {}, alibaba_error("MissingWorkspace", "workspace is mandatory"))

    def answer(self, status, headers, body):
        content = json.dumps(body, ensure_ascii=False).encode()
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json;charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            # A caller that gave up, as those of `slow` do.
            self.close_connection = True

    def log_message(self, format, *args):
        pass


def main():
    parser = argparse.ArgumentParser(description="Fake Huawei Cloud DLI and Alibaba Cloud Flink.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    port = parser.parse_args().port
    with ThreadingHTTPServer(("127.0.0.1", port), ProviderHandler) as server:
        server.daemon_threads = True
        print(json.dumps({"listening": f"http://127.0.0.1:{server.server_port}"}), flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
