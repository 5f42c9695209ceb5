#!/usr/bin/env python3
"""Writes the golden signing vectors by running the vendors' own Python signers.

Every stage is taken from inside the vendor's signer while it signs; nothing that is
written here was composed by this project. A second pass then recomputes the hashes and
the signature with hashlib and hmac alone and refuses to write on the slightest
disagreement, also with the signatures that the vendors have published.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import re
import shutil
import string
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

# huaweicloudsdkcore writes an identifier into HOME as soon as it is imported.
with tempfile.TemporaryDirectory() as _home, mock.patch.dict(os.environ, {"HOME": _home}):
    from huaweicloudsdkcore.auth.credentials import BasicCredentials
    from huaweicloudsdkcore.sdk_request import SdkRequest
    from huaweicloudsdkcore.signer.signer import Signer

from alibabacloud_tea_openapi import models as openapi_models
from alibabacloud_tea_openapi import utils as openapi_utils
from alibabacloud_tea_openapi.client import Client as OpenApiClient
from alibabacloud_tea_openapi.utils import Utils
from darabonba.core import DaraCore
from darabonba.runtime import RuntimeOptions
from darabonba.url import Url

HUAWEI_SCHEME = "sdk-hmac-sha256"
ALIBABA_SCHEME = "acs3-hmac-sha256"

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

# Every visible character that is neither a letter nor a digit.
ODD_SECRET = f"EXAMPLE{string.punctuation}"

# The credentials of the published vectors; every other one must say that it is an example.
PUBLISHED_PLACEHOLDERS = {"AccessKey", "SecretKey", "YourAccessKeyId", "YourAccessKeySecret"}


class Disagreement(Exception):
    """The vendor's signer and plain hashlib/hmac, or a published value, differ."""


@dataclass(frozen=True)
class Vector:
    """One case as it is written to disk."""

    scheme: str
    name: str
    request: dict[str, object]
    canonical_request: str
    string_to_sign: str
    authorization: str
    published_authorization: str | None = None


# --- Huawei Cloud: SDK-HMAC-SHA256 -------------------------------------------------

HUAWEI_KEY_ID = "HPUAEXAMPLEAK0123456"
HUAWEI_SECRET = "exampleSecretKey0123456789abcdefABCDEF012"
HUAWEI_TOKEN = "gQpjbi1ub3J0aC00EXAMPLEsecurityTOKEN/+=="
HUAWEI_DATE = "20260115T083000Z"
HUAWEI_HOST = "dli.cn-north-4.myhuaweicloud.com"
HUAWEI_PROJECT = "0605767b3300d5762fb7c0186d9e1779"
HUAWEI_JOBS = f"/v1.0/{HUAWEI_PROJECT}/streaming/jobs"
HUAWEI_IMPORT = f"{HUAWEI_JOBS}/137228/import-savepoint"
HUAWEI_BODY = '{"job_id":137228,"savepoint_path":"obs://bucket-name/dir/savepoint/"}'

JSON_TYPE = ("Content-Type", "application/json")
PROJECT = ("X-Project-Id", HUAWEI_PROJECT)


@dataclass(frozen=True)
class HuaweiCase:
    """The inputs of one Huawei vector. The date header is added by the generator."""

    name: str
    method: str = "POST"
    host: str = HUAWEI_HOST
    path: str = HUAWEI_IMPORT
    # Values as a caller of the vendor's signer gives them: str, int, bool or a list of str.
    query: list[tuple[str, object]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=lambda: [JSON_TYPE, PROJECT])
    body: str = HUAWEI_BODY
    key_id: str = HUAWEI_KEY_ID
    secret: str = HUAWEI_SECRET
    date: str = HUAWEI_DATE
    token: str | None = None
    # Huawei's Go signer signs no host, its Python signer always does. The published Go
    # vectors need that one step of the Python signer left out.
    sign_host: bool = True
    published_authorization: str | None = None


HUAWEI_CASES = [
    HuaweiCase("import_savepoint_basic"),
    HuaweiCase("import_savepoint_security_token", token=HUAWEI_TOKEN),
    HuaweiCase("minimal_headers_host_and_date_only", headers=[]),
    HuaweiCase(
        "user_agent_signed_charset_content_type",
        headers=[
            ("Content-Type", "application/json;charset=UTF-8"),
            PROJECT,
            ("User-Agent", "savepoint-gateway/0.1.0"),
        ],
    ),
    HuaweiCase("utf8_body", body='{"job_id":137228,"savepoint_path":"obs://桶/目录 1/é"}'),
    HuaweiCase(
        "get_no_body_no_content_type",
        method="GET",
        path=f"{HUAWEI_JOBS}/137228",
        headers=[PROJECT],
        body="",
    ),
    HuaweiCase(
        "get_query_sorted_and_encoded",
        method="GET",
        path=HUAWEI_JOBS,
        query=[
            ("show_detail", False),
            ("name", "a b/ü+&=~*"),
            ("limit", 10),
            ("B", "2"),
            ("a", "1"),
            ("empty", ""),
            ("status", ["job_running", "job_init"]),
        ],
        body="",
    ),
    HuaweiCase(
        "path_odd_chars_percent_encoded_on_wire",
        path=f"{HUAWEI_JOBS}/a%20b%3Fc%23d%25e%2B~%C3%A9%2A%27%28%29%21%40%3A%2C%3B%3D%24/import-savepoint",
    ),
    HuaweiCase("path_with_encoded_slash", path=f"{HUAWEI_JOBS}/a%2Fb/import-savepoint"),
    HuaweiCase("path_trailing_slash_already", path=f"{HUAWEI_IMPORT}/"),
    HuaweiCase("root_path", method="GET", path="/", headers=[], body=""),
    HuaweiCase(
        "header_values_trimmed_underscore_name_unsigned",
        headers=[
            JSON_TYPE,
            PROJECT,
            ("X-Extra", "  two  spaces  "),
            ("X_Under_Score", "u"),
            ("X-Utf8", "值"),
        ],
    ),
    HuaweiCase(
        "non_json_content_type_unsigned_payload",
        headers=[("Content-Type", "application/octet-stream"), PROJECT],
    ),
    HuaweiCase(
        "non_json_content_type_empty_body",
        headers=[("Content-Type", "application/octet-stream"), PROJECT],
        body="",
    ),
    HuaweiCase("host_with_port", host="127.0.0.1:8443"),
    HuaweiCase(
        "iam_projects_by_name",
        method="GET",
        host="iam.cn-north-4.myhuaweicloud.com",
        path="/v3/projects",
        query=[("name", "cn-north-4")],
        headers=[],
        body="",
    ),
    HuaweiCase(
        "iam_projects_by_name_security_token",
        method="GET",
        host="iam.cn-north-4.myhuaweicloud.com",
        path="/v3/projects",
        query=[("name", "cn-north-4")],
        headers=[],
        body="",
        token=HUAWEI_TOKEN,
    ),
    HuaweiCase(
        "largest_job_id",
        path=f"{HUAWEI_JOBS}/9223372036854775807/import-savepoint",
        body='{"job_id":9223372036854775807,"savepoint_path":"bucket-name/dir"}',
    ),
    HuaweiCase(
        "secret_with_odd_characters",
        secret=ODD_SECRET,
    ),
    HuaweiCase(
        "published_go_get",
        method="GET",
        host="example.huaweicloud.com",
        path="/path",
        query=[("limit", 1)],
        headers=[("TEST_UNDERSCORE", "TEST_VALUE")],
        body="",
        key_id="AccessKey",
        secret="SecretKey",
        date="20060102T150405Z",
        sign_host=False,
        published_authorization=(
            "SDK-HMAC-SHA256 Access=AccessKey, SignedHeaders=x-sdk-date, "
            "Signature=5a2ce64c865e0e6046321c6f3d5a77ba8413eeaf355c3166c03d58d02ac79624"
        ),
    ),
    HuaweiCase(
        "published_go_post",
        host="example.huaweicloud.com",
        path="/path",
        query=[("key", "value")],
        headers=[("TEST_UNDERSCORE", "TEST_VALUE")],
        body='{"Name":"test","Id":1}\n',
        key_id="AccessKey",
        secret="SecretKey",
        date="20060102T150405Z",
        sign_host=False,
        published_authorization=(
            "SDK-HMAC-SHA256 Access=AccessKey, SignedHeaders=x-sdk-date, "
            "Signature=cecc2af119b18ab70b4d094c0750f3b42c02f254903179a0fc2cc72fc9db4f59"
        ),
    ),
]


class RecordingSigner(Signer):
    """Huawei's signer, with its two intermediate texts kept."""

    def __init__(self, credentials: BasicCredentials, sign_host: bool) -> None:
        super().__init__(credentials)
        self.sign_host = sign_host
        self.canonical_request = ""
        self.string_to_sign = ""

    def _process_header_host(self, request):
        if self.sign_host:
            super()._process_header_host(request)

    def _process_canonical_request(self, *args, **kwargs):
        self.canonical_request = super()._process_canonical_request(*args, **kwargs)
        return self.canonical_request

    def _process_string_to_sign(self, *args, **kwargs):
        self.string_to_sign = super()._process_string_to_sign(*args, **kwargs)
        return self.string_to_sign


def query_text(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, bool):
        return [str(value).lower()]
    return [str(value)]


def huawei_vector(case: HuaweiCase) -> Vector:
    headers = list(case.headers)
    headers.insert(min(1, len(headers)), ("X-Sdk-Date", case.date))
    if case.token is not None:
        headers.append(("X-Security-Token", case.token))
    signer = RecordingSigner(
        BasicCredentials(case.key_id, case.secret, HUAWEI_PROJECT), case.sign_host
    )
    request = SdkRequest(
        method=case.method,
        schema="https",
        host=case.host,
        resource_path=case.path,
        query_params=[
            (key, list(value) if isinstance(value, list) else value) for key, value in case.query
        ],
        header_params=dict(headers),
        body=case.body,
    )
    signer.sign(request)
    authorization = request.header_params["Authorization"]

    added = [
        (name, value)
        for name, value in request.header_params.items()
        if name != "Authorization" and name not in dict(headers)
    ]
    signed_names = signed_header_names(authorization)
    all_headers = headers + added
    signed = [[name, value] for name, value in all_headers if name.lower() in signed_names]
    unsigned = [[name, value] for name, value in all_headers if name.lower() not in signed_names]
    inputs: dict[str, object] = {
        "method": case.method,
        "host": case.host,
        "path": case.path,
        "query": sorted([key, text] for key, value in case.query for text in query_text(value)),
        "headers": signed,
        "body": case.body,
        "access_key_id": case.key_id,
        "access_key_secret": case.secret,
        "date": case.date,
    }
    if case.token is not None:
        inputs["security_token"] = case.token
    if unsigned:
        inputs["unsigned_headers"] = unsigned
    payload = signer.canonical_request.rsplit("\n", 1)[1]
    if payload != hashlib.sha256(case.body.encode()).hexdigest():
        inputs["payload_hash"] = payload
    return Vector(
        HUAWEI_SCHEME,
        case.name,
        inputs,
        signer.canonical_request,
        signer.string_to_sign,
        authorization,
        case.published_authorization,
    )


# --- Alibaba Cloud: ACS3-HMAC-SHA256 -----------------------------------------------

ALIBABA_KEY_ID = "LTAI5tEXAMPLEAccessKeyId"
ALIBABA_SECRET = "EXAMPLEAccessKeySecret30chars0"
ALIBABA_DATE = "2026-01-02T03:04:05Z"
ALIBABA_NONCE = "0123456789abcdef0123456789abcdef"
ALIBABA_HOST = "ververica.cn-hangzhou.aliyuncs.com"
ALIBABA_WORKSPACE = "a14bd5d90a0001"
ALIBABA_USER_AGENT = "savepoint-gateway/0.1.0"

# What the vendor's client signs on top and a proxy on the way may rewrite or drop.
NOT_IN_MINIMAL = {"accept", "user-agent", "x-acs-credentials-provider"}


def savepoint_path(namespace: str, savepoint_id: str) -> str:
    """The path as the vendor's product clients compose it, with the vendor's encoder."""
    return (
        f"/api/v2/namespaces/{Url.percent_encode(namespace)}"
        f"/savepoints/{Url.percent_encode(savepoint_id)}"
    )


@dataclass(frozen=True)
class AlibabaCase:
    """The inputs of one Alibaba vector; each gives two, one per header family."""

    name: str
    path: str
    method: str = "GET"
    style: str = "ROA"
    host: str = ALIBABA_HOST
    action: str = "GetSavepoint"
    version: str = "2022-07-18"
    workspace: str | None = ALIBABA_WORKSPACE
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, object] | None = None
    key_id: str = ALIBABA_KEY_ID
    secret: str = ALIBABA_SECRET
    token: str | None = None
    date: str = ALIBABA_DATE
    nonce: str = ALIBABA_NONCE
    published_authorization: str | None = None


PLAIN_PATH = savepoint_path("default-namespace", "88a8fc49-e090-430a-85d8-3ee8c79c0001")
SAVEPOINTS_PATH = "/api/v2/namespaces/default-namespace/savepoints"

ALIBABA_CASES = [
    AlibabaCase("plain_ak", PLAIN_PATH),
    AlibabaCase("sts", PLAIN_PATH, key_id="STS.NUexample", token="CAIStokenEXAMPLE+/=="),
    AlibabaCase("unicode", savepoint_path("命名空间", "保存点-é-😀")),
    AlibabaCase("space_percent", savepoint_path("name space 100%", "a%2Fb c")),
    AlibabaCase("tilde_plus_star", savepoint_path("ns~1_x.y-z", "sp+1*2~3")),
    AlibabaCase("slashes", savepoint_path("a/b", "c/d//e")),
    AlibabaCase("reserved", savepoint_path("n!s'\"", "s(p)$&,;=:@?x#y[]|\\^`{}<>")),
    AlibabaCase(
        "workspace_odd",
        savepoint_path("ns", "sp-1"),
        workspace="ws with  inner spaces,and;punct",
    ),
    AlibabaCase("host_with_port", savepoint_path("ns", "sp-1"), host="127.0.0.1:8080"),
    AlibabaCase(
        "list_query",
        SAVEPOINTS_PATH,
        action="ListSavepoints",
        query={"pageSize": "10", "deploymentId": "d 1~*", "jobId": "j+1/é", "pageIndex": "1"},
    ),
    AlibabaCase(
        "create_body",
        SAVEPOINTS_PATH,
        method="POST",
        action="CreateSavepoint",
        body={"deploymentId": "d1", "description": '第一个 "q"', "nativeFormat": True},
    ),
    AlibabaCase(
        "secret_with_odd_characters",
        PLAIN_PATH,
        secret=ODD_SECRET,
    ),
    AlibabaCase(
        "published_run_instances",
        "/",
        method="POST",
        style="RPC",
        host="ecs.cn-shanghai.aliyuncs.com",
        action="RunInstances",
        version="2014-05-26",
        workspace=None,
        query={
            "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
            "RegionId": "cn-shanghai",
        },
        key_id="YourAccessKeyId",
        secret="YourAccessKeySecret",
        date="2023-10-26T10:22:32Z",
        nonce="3156853299f313e23d1673dc12e1703d",
        published_authorization=(
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;"
            "x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
            "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        ),
    ),
]


class Signed(BaseException):
    """Leaves the vendor's client once the request is signed, before it would be sent.

    A BaseException, because the client answers every Exception with its retry logic.
    """

    def __init__(self, request: object) -> None:
        super().__init__()
        self.request = request


@dataclass
class AlibabaStages:
    canonical_request: str = ""
    string_to_sign: str = ""


@contextmanager
def alibaba_stages() -> Iterator[AlibabaStages]:
    """Listens at the two functions that the signer hands its intermediate texts to."""
    stages = AlibabaStages()
    hash_, sign_ = Utils.hash, openapi_utils.signature_method

    def hash_and_keep(raw: bytes, sign_type: str) -> bytes:
        stages.canonical_request = bytes(raw).decode()
        return hash_(raw, sign_type)

    def sign_and_keep(secret: str, source: str, sign_type: str) -> bytes:
        stages.string_to_sign = source
        return sign_(secret, source, sign_type)

    with (
        mock.patch.object(Utils, "hash", staticmethod(hash_and_keep)),
        mock.patch.object(openapi_utils, "signature_method", sign_and_keep),
    ):
        yield stages


def constant(value: str) -> staticmethod:
    return staticmethod(lambda *_args, **_kwargs: value)


def signed_by_client(case: AlibabaCase) -> tuple[object, AlibabaStages]:
    """Lets the vendor's whole client compose and sign the request."""

    def instead_of_sending(request: object, _runtime: object = None) -> None:
        raise Signed(request)

    client = OpenApiClient(
        openapi_models.Config(
            access_key_id=case.key_id,
            access_key_secret=case.secret,
            security_token=case.token,
            endpoint=case.host,
        )
    )
    params = openapi_models.Params(
        action=case.action,
        version=case.version,
        protocol="HTTPS",
        pathname=case.path,
        method=case.method,
        auth_type="AK",
        style=case.style,
        req_body_type="json",
        body_type="json",
    )
    request = openapi_models.OpenApiRequest(
        headers={} if case.workspace is None else {"workspace": case.workspace},
        query=dict(case.query),
        body=case.body,
    )
    with (
        mock.patch.object(Utils, "get_timestamp", constant(case.date)),
        mock.patch.object(Utils, "get_nonce", constant(case.nonce)),
        mock.patch.object(Utils, "get_user_agent", constant(ALIBABA_USER_AGENT)),
        mock.patch.object(DaraCore, "do_action", staticmethod(instead_of_sending)),
        alibaba_stages() as stages,
    ):
        try:
            client.call_api(params, request, RuntimeOptions())
        except Signed as signed:
            return signed.request, stages
    raise Disagreement(f"{case.name}: the vendor's client sent nothing")


def alibaba_vectors(case: AlibabaCase) -> Iterator[Vector]:
    request, stages = signed_by_client(case)
    body = request.body or ""
    headers = dict(request.headers)
    authorization = headers.pop("Authorization")

    def vector(name: str, signed: dict[str, str], stages: AlibabaStages, auth: str) -> Vector:
        inputs: dict[str, object] = {
            "method": request.method,
            "host": case.host,
            "path": request.pathname,
            "query": sorted([key, value] for key, value in request.query.items()),
            "headers": [[key, value] for key, value in signed.items()],
            "body": body,
            "access_key_id": case.key_id,
            "access_key_secret": case.secret,
            "date": case.date,
            "nonce": case.nonce,
        }
        if case.token is not None:
            inputs["security_token"] = case.token
        published = case.published_authorization if name == case.name else None
        return Vector(
            ALIBABA_SCHEME,
            name,
            inputs,
            stages.canonical_request,
            stages.string_to_sign,
            auth,
            published,
        )

    yield vector(f"{case.name}_all_headers", headers, stages, authorization)

    minimal = {name: value for name, value in headers.items() if name not in NOT_IN_MINIMAL}
    request.headers = dict(minimal)
    with alibaba_stages() as minimal_stages:
        authorization = Utils.get_authorization(
            request,
            "ACS3-HMAC-SHA256",
            minimal["x-acs-content-sha256"],
            case.key_id,
            case.secret,
        )
    yield vector(case.name, minimal, minimal_stages, authorization)


# --- The second pass ----------------------------------------------------------------


def signed_header_names(authorization: str) -> list[str]:
    match = re.search(r"SignedHeaders=([^,]+),", authorization)
    if match is None:
        raise Disagreement(f"no SignedHeaders in {authorization!r}")
    return match.group(1).split(";")


def verify(vector: Vector) -> None:
    """Recomputes everything that follows from the canonical request, without the vendor."""

    def expect(what: str, got: object, want: object) -> None:
        if got != want:
            raise Disagreement(f"{vector.scheme}/{vector.name}: {what}: {got!r}, not {want!r}")

    request = vector.request
    key_id, secret = str(request["access_key_id"]), str(request["access_key_secret"])
    headers = [(str(name).lower(), str(value).strip()) for name, value in request["headers"]]
    names = signed_header_names(vector.authorization)
    expect("signed headers", sorted(name for name, _ in headers), names)

    lines = vector.canonical_request.split("\n")
    payload = hashlib.sha256(str(request["body"]).encode()).hexdigest()
    expect("method", lines[0], request["method"])
    expect("number of lines", len(lines), 3 + len(headers) + 3)
    expect(
        "canonical headers",
        lines[3:-3],
        [f"{name}:{value}" for name, value in sorted(headers)],
    )
    expect("blank line", lines[-3], "")
    expect("signed headers line", lines[-2], ";".join(names))
    expect("payload", lines[-1], request.get("payload_hash", payload))
    if not request["body"] and "payload_hash" not in request:
        expect("hash of nothing", lines[-1], EMPTY_SHA256)

    digest = hashlib.sha256(vector.canonical_request.encode()).hexdigest()
    forms: dict[str, tuple[str, Callable[[str], str]]] = {
        HUAWEI_SCHEME: (
            f"SDK-HMAC-SHA256\n{request['date']}\n{digest}",
            lambda signature: (
                f"SDK-HMAC-SHA256 Access={key_id}, SignedHeaders={';'.join(names)}, "
                f"Signature={signature}"
            ),
        ),
        ALIBABA_SCHEME: (
            f"ACS3-HMAC-SHA256\n{digest}",
            lambda signature: (
                f"ACS3-HMAC-SHA256 Credential={key_id},SignedHeaders={';'.join(names)},"
                f"Signature={signature}"
            ),
        ),
    }
    string_to_sign, authorization = forms[vector.scheme]
    expect("string to sign", vector.string_to_sign, string_to_sign)
    signature = hmac.new(secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()
    expect("authorization", vector.authorization, authorization(signature))
    if vector.published_authorization is not None:
        expect("published authorization", vector.authorization, vector.published_authorization)
    for text in (key_id, secret, request.get("security_token")):
        if text is not None and text not in PUBLISHED_PLACEHOLDERS:
            expect(f"fake value {text!r}", "example" in str(text).lower(), True)


def json_text(request: dict[str, object]) -> str:
    """JSON with one header or query pair per line: json.dumps alone makes four of each."""

    def text(value: object) -> str:
        if isinstance(value, list) and value:
            pairs = ",\n".join(f"    {json.dumps(pair, ensure_ascii=False)}" for pair in value)
            return f"[\n{pairs}\n  ]"
        return json.dumps(value, ensure_ascii=False)

    members = ",\n".join(f"  {json.dumps(key)}: {text(value)}" for key, value in request.items())
    return f"{{\n{members}\n}}\n"


def write(vector: Vector, output: Path) -> None:
    folder = output / vector.scheme / vector.name
    folder.mkdir(parents=True)
    request = json_text(vector.request)
    if json.loads(request) != vector.request:
        raise Disagreement(f"{vector.scheme}/{vector.name}: request.json does not read back")
    for name, text in (
        ("request.json", request),
        ("canonical_request.txt", vector.canonical_request),
        ("string_to_sign.txt", vector.string_to_sign),
        ("authorization.txt", vector.authorization),
    ):
        (folder / name).write_bytes(text.encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parent,
        help="the folder that receives one folder per scheme (default: beside this file)",
    )
    output: Path = parser.parse_args().output

    try:
        vectors = [huawei_vector(case) for case in HUAWEI_CASES]
        vectors += [vector for case in ALIBABA_CASES for vector in alibaba_vectors(case)]
        for vector in vectors:
            verify(vector)
    except Disagreement as error:
        print(f"nothing written: {error}", file=sys.stderr)
        return 1

    # A case that was renamed or dropped must not stay behind.
    for scheme in (HUAWEI_SCHEME, ALIBABA_SCHEME):
        shutil.rmtree(output / scheme, ignore_errors=True)
    for vector in vectors:
        write(vector, output)
    for scheme in (HUAWEI_SCHEME, ALIBABA_SCHEME):
        print(f"{scheme}: {sum(vector.scheme == scheme for vector in vectors)} vectors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
