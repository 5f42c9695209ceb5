"""A fake Realtime Compute for Apache Flink whose signature check is Alibaba's own signer."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
from dataclasses import dataclass
from urllib.parse import parse_qsl

from alibabacloud_tea_openapi.utils import Utils
from darabonba.core import DaraCore
from darabonba.request import DaraRequest

from endpoint import Answer, Endpoint, Key, common_faults, far_off
from wire import Message

ID = r"[0-9A-Za-z][0-9A-Za-z_.~-]{0,127}"
COLLECTION = rf"/api/v2/namespaces/({ID})/savepoints"
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
CONTENT_TYPE = "application/json; charset=utf-8"
CREATED_AT = 1659066711
MODIFIED_AT = 1659069473


@dataclass(frozen=True)
class Operation:
    method: str
    target: re.Pattern[str]
    has_body: bool = False

    @property
    def always_signed(self) -> tuple[str, ...]:
        return (*ALWAYS_SIGNED, "content-type") if self.has_body else ALWAYS_SIGNED

    @property
    def allowed(self) -> frozenset[str]:
        return ALLOWED | {"content-type", "content-length"} if self.has_body else ALLOWED


GET = Operation("GET", re.compile(rf"{COLLECTION}/({ID})"))
# The names in the order of the SDK, and nothing that would need an encoding.
LIST = Operation(
    "GET",
    re.compile(
        rf"{COLLECTION}\?(?:deploymentId=({ID})&)?(?:jobId=({ID})&)?"
        r"pageIndex=([1-9][0-9]{0,9})&pageSize=([1-9][0-9]?|100)"
    ),
)
CREATE = Operation("POST", re.compile(COLLECTION), has_body=True)
OPERATIONS = {"GetSavepoint": GET, "ListSavepoints": LIST, "CreateSavepoint": CREATE}


def operation_of(request: Message) -> Operation:
    """The operation that a request names; that of a get if it names none."""
    return OPERATIONS.get(request.value("x-acs-action") or "", GET)


def vendor_body(members: dict[str, object]) -> bytes:
    """The body as Alibaba's SDK writes it."""
    return str(DaraCore.to_json_string(members)).encode()


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
    request.pathname, _, query = target.partition("?")
    request.query = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
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
        operation = operation_of(request)
        faults = common_faults(request, self.authorities, operation.allowed)
        faults += self._request_faults(request, operation)
        try:
            self._admit(request)
        except Refused as refused:
            return [str(refused), *faults], gateway_answer(
                refused.status, refused.code, str(refused), request_id
            )
        target = target_of(request)
        match = operation.target.fullmatch(target)
        if faults or match is None:
            return faults or [f"target {target!r}"], gateway_answer(
                400, "InvalidParameter", "; ".join(faults), request_id
            )
        namespace = match.group(1)
        body: dict[str, object] = {
            "requestId": request_id,
            "success": True,
            "httpCode": 200,
            "errorCode": "",
            "errorMessage": "",
        }
        if operation is LIST:
            index, size = int(match.group(4)), int(match.group(5))
            names = listed_ids(index, size)
            body |= {
                "data": [savepoint(name, namespace, request_id, "COMPLETED") for name in names],
                "pageIndex": index,
                "pageSize": size,
                "totalSize": total_of(size),
            }
        elif operation is CREATE:
            body["data"] = savepoint(CREATED_ID, namespace, request_id, "STARTED")
        else:
            body["data"] = savepoint(match.group(2), namespace, request_id, "COMPLETED")
        return [], Answer(200, body)

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
        expected = set(operation_of(request).always_signed)
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

    def _request_faults(self, request: Message, operation: Operation) -> list[str]:
        faults = []
        method = request.start_line.partition(" ")[0]
        if method != operation.method:
            faults.append(f"method {method}")
        if operation.target.fullmatch(target_of(request)) is None:
            faults.append(f"target {target_of(request)!r}")
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}", request.value("workspace") or ""):
            faults.append(f"workspace {request.values('workspace')}")
        if request.value("x-acs-action") not in OPERATIONS:
            faults.append(f"x-acs-action {request.values('x-acs-action')}")
        wanted = {"accept": "application/json", "x-acs-version": "2022-07-18"}
        if operation.has_body:
            wanted["content-type"] = CONTENT_TYPE
            faults += create_faults(request.body)
        elif request.body:
            faults.append("a body")
        for name, want in wanted.items():
            if request.value(name) != want:
                faults.append(f"{name} {request.values(name)}")
        return faults


def create_faults(body: bytes) -> list[str]:
    """What is wrong with the body of a creation: it must be, byte for byte, the SDK's."""
    try:
        members = json.loads(body.decode("utf-8"))
    except ValueError as error:
        return [f"body: {error}"]
    if not isinstance(members, dict) or vendor_body(members) != body:
        return ["body: not as the SDK writes it"]
    kinds = {"deploymentId": str, "description": str, "nativeFormat": bool}
    faults = [
        f"body: {name} {value!r}"
        for name, value in members.items()
        if name not in kinds or type(value) is not kinds[name]
    ]
    if not re.fullmatch(ID, str(members.get("deploymentId", ""))):
        faults.append("body: no deploymentId")
    return faults


CREATED_ID = "88a8fc49-e090-430a-85d8-3ee8c79c0001"


def total_of(size: int) -> int:
    """As many as fill two pages and begin a third."""
    return 2 * size + 1


def listed_ids(index: int, size: int) -> list[str]:
    """The savepoints of a page."""
    last = min(index * size, total_of(size))
    return [f"savepoint-{number}" for number in range((index - 1) * size, last)]


def savepoint(
    savepoint_id: str, namespace: str, request_id: str, state: str
) -> dict[str, object]:
    return {
        "savepointId": savepoint_id,
        "deploymentId": f"deployment of {request_id}",
        "jobId": f"job of {request_id}",
        "namespace": namespace,
        "savepointOrigin": "USER_REQUEST",
        "nativeFormat": True,
        "description": alibaba_description(request_id),
        "stopWithDrainEnabled": False,
        "savepointLocation": f"https://oss/bucket/{namespace}/{savepoint_id}",
        "status": {"state": state},
        "createdAt": CREATED_AT,
        "modifiedAt": MODIFIED_AT,
    }


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
