"""A fake Realtime Compute for Apache Flink whose signature check is Alibaba's own signer."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading

from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest

from endpoint import Answer, Endpoint, Key, common_faults, far_off
from wire import Message

TARGET = re.compile(
    r"/api/v2/namespaces/([0-9A-Za-z][0-9A-Za-z_.~-]{0,127})"
    r"/savepoints/([0-9A-Za-z][0-9A-Za-z_.~-]{0,127})"
)
AUTHORIZATION = re.compile(
    r"ACS3-HMAC-SHA256 Credential=([^, ]+),SignedHeaders=([^, ]+),Signature=([0-9a-f]{64})"
)
ALWAYS_SIGNED = (
    "host",
    "workspace",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-version",
)
SIGNED_WITH_TOKEN = ("x-acs-accesskey-id", "x-acs-security-token")
ALLOWED = frozenset(
    {*ALWAYS_SIGNED, *SIGNED_WITH_TOKEN, "accept", "authorization", "connection", "user-agent"}
)
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
CREATED_AT = 1659066711
MODIFIED_AT = 1659069473


def vendor_authorization(
    key_id: str,
    secret: str,
    method: str,
    target: str,
    headers: dict[str, str],
    payload_hash: str,
) -> str:
    """Signs the given headers with Alibaba's signer."""
    request = DaraRequest()
    request.method = method
    request.pathname = target
    request.query = {}
    request.headers = dict(headers)
    return str(Utils.get_authorization(request, "ACS3-HMAC-SHA256", payload_hash, key_id, secret))


class Refused(Exception):
    """A request that the API gateway in front of the service turns away."""

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.code = code


class AlibabaEndpoint(Endpoint):
    request_id_header = "x-acs-request-id"

    def __init__(self, keys: dict[str, Key]) -> None:
        self._nonces: set[str] = set()
        self._nonces_lock = threading.Lock()
        super().__init__(keys)

    def judge(self, request: Message, request_id: str) -> tuple[list[str], Answer]:
        faults = common_faults(request, self.authorities, ALLOWED) + self._request_faults(request)
        try:
            self._admit(request)
        except Refused as refused:
            return [str(refused), *faults], gateway_answer(
                refused.status, refused.code, str(refused), request_id
            )
        target = target_of(request)
        match = TARGET.fullmatch(target)
        if faults or match is None:
            return faults or [f"target {target!r}"], gateway_answer(
                400, "InvalidParameter", "; ".join(faults), request_id
            )
        namespace, savepoint_id = match.groups()
        return [], Answer(
            200,
            {
                "requestId": request_id,
                "success": True,
                "httpCode": 200,
                "errorCode": "",
                "errorMessage": "",
                "data": {
                    "savepointId": savepoint_id,
                    "deploymentId": f"deployment of {request_id}",
                    "jobId": f"job of {request_id}",
                    "namespace": namespace,
                    "savepointOrigin": "USER_REQUEST",
                    "nativeFormat": True,
                    "description": alibaba_description(request_id),
                    "stopWithDrainEnabled": False,
                    "savepointLocation": f"https://oss/bucket/{namespace}/{savepoint_id}",
                    "status": {"state": "COMPLETED"},
                    "createdAt": CREATED_AT,
                    "modifiedAt": MODIFIED_AT,
                },
            },
        )

    def _admit(self, request: Message) -> None:
        match = AUTHORIZATION.fullmatch(request.value("authorization") or "")
        if match is None:
            raise Refused(400, "IncompleteSignature", "no Authorization of the documented form")
        key_id, names, _ = match.groups()
        key = self.keys.get(key_id)
        if key is None:
            raise Refused(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if request.value("x-acs-security-token") != key.token:
            raise Refused(
                400,
                "InvalidSecurityToken.MismatchWithAccessKey",
                "the security token is not its own",
            )
        expected = set(ALWAYS_SIGNED)
        if key.token is not None:
            expected |= set(SIGNED_WITH_TOKEN)
            if request.value("x-acs-accesskey-id") != key_id:
                raise Refused(400, "IncompleteSignature", "x-acs-accesskey-id is not the key's id")
        if names.split(";") != sorted(expected):
            raise Refused(400, "IncompleteSignature", f"signed headers {names}")
        headers: dict[str, str] = {}
        for name in names.split(";"):
            value = request.value(name)
            if value is None:
                raise Refused(400, "IncompleteSignature", f"signed {name} is missing or doubled")
            headers[name] = value
        if headers["x-acs-content-sha256"] != hashlib.sha256(request.body).hexdigest():
            raise Refused(400, "SignatureDoesNotMatch", "the content hash is not the body's")
        try:
            expired = far_off(headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ")
        except ValueError as error:
            raise Refused(
                400, "InvalidTimeStamp.Format", "the date is not well formatted"
            ) from error
        if expired:
            raise Refused(400, "InvalidTimeStamp.Expired", "the date is more than 15 minutes off")
        method = request.start_line.partition(" ")[0]
        wanted = vendor_authorization(
            key_id,
            key.secret,
            method,
            target_of(request),
            headers,
            headers["x-acs-content-sha256"],
        )
        if not hmac.compare_digest(wanted, match.group(0)):
            raise Refused(
                400, "SignatureDoesNotMatch", "Specified signature does not match our calculation."
            )
        nonce = headers["x-acs-signature-nonce"]
        with self._nonces_lock:
            if not nonce or nonce in self._nonces:
                raise Refused(
                    400, "SignatureNonceUsed", "Specified signature nonce was used already."
                )
            self._nonces.add(nonce)

    def _request_faults(self, request: Message) -> list[str]:
        faults = []
        if request.start_line.partition(" ")[0] != "GET":
            faults.append(f"method {request.start_line.partition(' ')[0]}")
        if TARGET.fullmatch(target_of(request)) is None:
            faults.append(f"target {target_of(request)!r}")
        if request.body:
            faults.append("a body")
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}", request.value("workspace") or ""):
            faults.append(f"workspace {request.values('workspace')}")
        for name, want in (
            ("accept", "application/json"),
            ("x-acs-action", "GetSavepoint"),
            ("x-acs-version", "2022-07-18"),
            ("x-acs-content-sha256", EMPTY_SHA256),
        ):
            if request.value(name) != want:
                faults.append(f"{name} {request.values(name)}")
        return faults


def target_of(request: Message) -> str:
    return request.start_line.partition(" ")[2].rpartition(" ")[0]


def alibaba_description(request_id: str) -> str:
    """A text with what a careless decoder would spoil."""
    return f'升级之前 "{request_id}" \\ é 😀'


def gateway_answer(status: int, code: str, message: str, request_id: str) -> Answer:
    """An error in the shape of the API gateway in front of the service."""
    return Answer(
        status,
        {"RequestId": request_id, "HostId": "127.0.0.1", "Code": code, "Message": message},
    )
