"""A fake Huawei Cloud DLI whose signature check is Huawei's own signer."""

from __future__ import annotations

import hmac
import json
import os
import re
import tempfile
from unittest import mock

from endpoint import Answer, Endpoint, common_faults, far_off
from wire import Message

# huaweicloudsdkcore writes an identifier into HOME as soon as it is imported.
with tempfile.TemporaryDirectory() as _home, mock.patch.dict(os.environ, {"HOME": _home}):
    from huaweicloudsdkcore.auth.credentials import BasicCredentials
    from huaweicloudsdkcore.sdk_request import SdkRequest
    from huaweicloudsdkcore.signer.signer import Signer

TARGET = re.compile(
    r"/v1\.0/([0-9A-Za-z_-]{1,64})/streaming/jobs/"
    r"(?:([1-9][0-9]{0,18})(?:/(import-savepoint|savepoint))?|(run|stop))"
)
AUTHORIZATION = re.compile(
    r"SDK-HMAC-SHA256 Access=([^, ]+), SignedHeaders=([^, ]+), Signature=([0-9a-f]{64})"
)
ALLOWED = frozenset(
    {
        "accept",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-project-id",
        "x-sdk-date",
        "x-security-token",
    }
)


def vendor_authorization(
    key_id: str,
    secret: str,
    method: str,
    authority: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
) -> str:
    """Signs the given headers with Huawei's signer. They must hold Host and X-Sdk-Date."""
    request = SdkRequest(
        method=method,
        schema="http",
        host=authority,
        resource_path=target,
        query_params=[],
        header_params=dict(headers),
        body=body,
    )
    Signer(BasicCredentials(key_id, secret, "project")).sign(request)
    return str(request.header_params["Authorization"])


class HuaweiEndpoint(Endpoint):
    request_id_header = "X-Request-Id"

    def judge(self, request: Message, request_id: str) -> tuple[list[str], Answer]:
        refused = self._credential_fault(request)
        faults = common_faults(request, self.authorities, ALLOWED) + self._request_faults(request)
        if refused is not None:
            text = f"Incorrect IAM authentication information: {refused}"
            return [refused, *faults], Answer(401, {"error_code": "APIG.0301", "error_msg": text})
        if faults:
            text = f"Parameter check errors occur: {'; '.join(faults)}"
            return faults, Answer(400, {"error_code": "DLI.0001", "error_msg": text})
        # Both forms occur in the vendor's own clients.
        success: object = "true" if request_id[-1] in "02468" else True
        answer: dict[str, object] = {"is_success": success, "message": huawei_message(request_id)}
        match = TARGET.fullmatch(target_of(request))
        assert match is not None
        if match.group(4) is not None:
            # Older documents show the element alone.
            return [], Answer(200, answer if request_id[-1] in "05" else [answer])
        if match.group(3) is None:
            answer["job_detail"] = job_detail(int(match.group(2)), request_id)
        return [], Answer(200, answer)

    def _credential_fault(self, request: Message) -> str | None:
        match = AUTHORIZATION.fullmatch(request.value("authorization") or "")
        if match is None:
            return "no Authorization of the documented form"
        key_id, names, _ = match.groups()
        key = self.keys.get(key_id)
        if key is None:
            return "the access key is unknown"
        if request.value("x-security-token") != key.token:
            return "the security token is not the one of this access key"
        expected = ["content-type", "host", "x-project-id", "x-sdk-date"]
        if key.token is not None:
            expected.append("x-security-token")
        if names.split(";") != expected:
            return f"signed headers {names}"
        if any(request.value(name) is None for name in expected):
            return "a signed header is missing or doubled"
        method, _, rest = request.start_line.partition(" ")
        try:
            if far_off(request.value("x-sdk-date") or "", "%Y%m%dT%H%M%SZ"):
                return "the date is more than 15 minutes off"
        except ValueError:
            return "the date is not of the documented form"
        wanted = vendor_authorization(
            key_id,
            key.secret,
            method,
            request.value("host") or "",
            rest.rpartition(" ")[0],
            [(name, request.value(name) or "") for name in expected],
            request.body,
        )
        if not hmac.compare_digest(wanted, match.group(0)):
            return "verify aksk signature fail"
        return None

    def _request_faults(self, request: Message) -> list[str]:
        faults = []
        method, _, rest = request.start_line.partition(" ")
        target = rest.rpartition(" ")[0]
        match = TARGET.fullmatch(target)
        kind = None
        if match is None:
            faults.append(f"target {target!r}")
        else:
            kind = match.group(3) or match.group(4) or "show"
            if request.value("x-project-id") != match.group(1):
                faults.append("X-Project-Id is not the project of the path")
        reads = kind == "show"
        if method != ("GET" if reads else "POST"):
            faults.append(f"method {method}")
        if not re.fullmatch(
            r"application/json(; ?charset=utf-8)?", request.value("content-type") or ""
        ):
            faults.append(f"Content-Type {request.value('content-type')!r}")
        if request.value("content-length") is None and not reads:
            faults.append("no Content-Length")
        if reads:
            return faults + ([f"body {request.body!r}"] if request.body else [])
        if kind in ("run", "stop", "savepoint"):
            return faults + job_body_faults(kind, request.body)
        try:
            job_id, _ = import_body(request.body)
        except ValueError as error:
            faults.append(f"body: {error}")
        else:
            if match is not None and str(job_id) != match.group(2):
                faults.append("the job of the body is not the job of the path")
        return faults


#: The members of a body, in the order in which the SDK writes them.
MEMBERS = {
    "savepoint": ["action", "savepoint_path"],
    "run": ["resume_savepoint", "job_ids"],
    "stop": ["trigger_savepoint", "job_ids"],
}
CREATED_MS, UPDATED_MS = 1578466221525, 1578466223001


def job_body_faults(kind: str, body: bytes) -> list[str]:
    """What is wrong with a body that starts, stops or saves a job."""
    try:
        value = json.loads(body.decode("utf-8"))
    except ValueError as error:
        return [f"body: {error}"]
    if not isinstance(value, dict) or list(value) != MEMBERS[kind]:
        return [f"body: {value!r}"]
    if kind == "savepoint":
        well_formed = value["action"] == "TRIGGER" and type(value["savepoint_path"]) is str
    else:
        ids = value["job_ids"]
        well_formed = isinstance(ids, list) and len(ids) == 1 and type(ids[0]) is int
        well_formed = well_formed and type(value[MEMBERS[kind][0]]) is bool
        # A start without it would begin empty.
        well_formed = well_formed and (kind != "run" or value["resume_savepoint"])
    return [] if well_formed else [f"body: {value!r}"]


def target_of(request: Message) -> str:
    return request.start_line.partition(" ")[2].rpartition(" ")[0]


def job_detail(job_id: int, request_id: str) -> dict[str, object]:
    return {
        "job_id": job_id,
        "name": f"job of {request_id}",
        "desc": huawei_message(request_id),
        "job_type": "flink_jar_job",
        "queue_name": "queue-1",
        "status": "job_running",
        "status_desc": "",
        "has_savepoint": True,
        "savepoint_path": f"obs://bucket/{request_id}/",
        "create_time": CREATED_MS,
        "start_time": None,
        "update_time": UPDATED_MS,
    }


def huawei_message(request_id: str) -> str:
    """The text of a success, with what a careless decoder would spoil."""
    return f'作业更新成功 "{request_id}" \\ é 😀'


def import_body(body: bytes) -> tuple[int, str]:
    """The two fields of the body; ValueError for anything but exactly these two."""

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if sorted(name for name, _ in pairs) != ["job_id", "savepoint_path"]:
            raise ValueError(f"members {[name for name, _ in pairs]}")
        return dict(pairs)

    def no_float(text: str) -> float:
        raise ValueError(f"number {text}")

    value = json.loads(
        body.decode("utf-8"),
        object_pairs_hook=members,
        parse_float=no_float,
        parse_constant=no_float,
    )
    if not isinstance(value, dict):
        raise ValueError("not an object")
    job_id, savepoint_path = value["job_id"], value["savepoint_path"]
    if type(job_id) is not int:
        raise ValueError("job_id is not a JSON number")
    if type(savepoint_path) is not str:
        raise ValueError("savepoint_path is not a JSON string")
    return job_id, savepoint_path
