"""Requests made by hand with the vendors' signers: a right one, and one per rule that
breaks just that rule. They prove that the endpoints can tell the difference, before
anything is concluded from their silence about the gateway.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import alibaba_endpoint
import huawei_endpoint
from endpoint import Endpoint, Exchange, Key
from wire import read_message

Headers = list[tuple[str, str]]

PROJECT_ID = "0605767b3300d5762fb7c0186d9e1779"
IMPORT_TARGET = f"/v1.0/{PROJECT_ID}/streaming/jobs/137228/import-savepoint"
IMPORT_BODY = '{"job_id":137228,"savepoint_path":"obs://bucket-name/dir/"}'
COLLECTION_TARGET = "/api/v2/namespaces/default-namespace/savepoints"
GET_TARGET = "/api/v2/namespaces/default-namespace/savepoints/88a8fc49-e090-430a-85d8-3ee8c79c0001"


@dataclass(frozen=True)
class Control:
    """Raw bytes, and the fault that they must be found guilty of: none, for a right one."""

    name: str
    raw: bytes
    fault: str | None


def send(endpoint: Endpoint, raw: bytes) -> Exchange:
    start = endpoint.count
    host, _, port = endpoint.authority.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(raw)
        read_message(connection.makefile("rb"))
    (exchange,) = endpoint.since(start)
    return exchange


def raw_request(method: str, target: str, headers: Headers, body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def moment(form: str, minutes: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime(form)


def huawei_controls(endpoint: Endpoint, key_id: str, key: Key) -> Iterator[Control]:
    def request(
        *,
        method: str = "POST",
        target: str = IMPORT_TARGET,
        body: str = IMPORT_BODY,
        project: str = PROJECT_ID,
        content_type: str = "application/json",
        date: str | None = None,
        secret: str = key.secret,
        signer_id: str = key_id,
        token: str | None = key.token,
        host: str = endpoint.authority,
        unsigned: Headers | None = None,
        leave_unsigned: str = "",
        length: bool = True,
    ) -> bytes:
        signed: Headers = [
            ("Host", host),
            ("Content-Type", content_type),
            ("X-Project-Id", project),
            ("X-Sdk-Date", date or moment("%Y%m%dT%H%M%SZ")),
        ]
        if token is not None:
            signed.append(("X-Security-Token", token))
        authorization = huawei_endpoint.vendor_authorization(
            signer_id,
            secret,
            method,
            host,
            target,
            [pair for pair in signed if pair[0] != leave_unsigned],
            body.encode(),
        )
        headers = [*signed, ("Authorization", authorization), *(unsigned or [])]
        if length:
            headers.append(("Content-Length", str(len(body.encode()))))
        return raw_request(method, target, headers, body.encode())

    def body(**members: object) -> str:
        return json.dumps({"job_id": 137228, "savepoint_path": "a/b", **members})

    right = request()
    yield Control("a right request", right, None)
    yield Control("a wrong secret", request(secret="EXAMPLE-wrong"), "verify aksk signature fail")
    yield Control(
        "an unknown key", request(signer_id="EXAMPLEUNKNOWN"), "the access key is unknown"
    )
    yield Control("a changed body", right.replace(b"/dir/", b"/dis/"), "verify aksk signature fail")
    yield Control(
        "another project in the path",
        right.replace(f"/{PROJECT_ID}/".encode(), b"/p/"),
        "verify aksk signature fail",
    )
    yield Control("a wrong token", request(token="EXAMPLE-wrong"), "the security token is not")
    yield Control("no token", request(token=None), "the security token is not")
    yield Control(
        "no content type signed", request(leave_unsigned="Content-Type"), "signed headers"
    )
    yield Control("no project signed", request(leave_unsigned="X-Project-Id"), "signed headers")
    for minutes in (-16, 16):
        date = moment("%Y%m%dT%H%M%SZ", minutes)
        yield Control(f"a date {minutes} minutes off", request(date=date), "15 minutes off")
    yield Control("a query", request(target=f"{IMPORT_TARGET}?a=b"), "target ")
    yield Control("a slash at the end", request(target=f"{IMPORT_TARGET}/"), "target ")
    yield Control("GET", request(method="GET"), "method GET")
    yield Control("another project in the header", request(project="p"), "X-Project-Id is not")
    yield Control("a plain text", request(content_type="text/plain"), "Content-Type 'text/plain'")
    yield Control("a job as a string", request(body=body(job_id="137228")), "not a JSON number")
    yield Control("a job as a float", request(body=body(job_id=137228.0)), "body: number")
    yield Control(
        "another job in the body", request(body=body(job_id=1)), "not the job of the path"
    )
    yield Control("a path as a number", request(body=body(savepoint_path=1)), "not a JSON string")
    yield Control("a third member", request(body=body(extra=1)), "body: members")
    yield Control(
        "a doubled member",
        request(body='{"job_id":1,"job_id":137228,"savepoint_path":"a"}'),
        "body: members",
    )
    yield Control("no JSON", request(body="job_id=137228"), "body: ")
    yield Control("no length", request(body="", length=False), "no Content-Length")
    yield Control("two hosts", request(unsigned=[("Host", endpoint.authority)]), "header host more")
    yield Control("another host", request(host="example.com"), "Host ['example.com']")
    chunked = request(length=False, unsigned=[("Transfer-Encoding", "chunked")])
    yield Control("chunks", chunked, "Transfer-Encoding")
    for name in (
        "te",
        "trailer",
        "grpc-timeout",
        "x-forwarded-for",
        "via",
        "proxy-connection",
        "expect",
    ):
        yield Control(f"a {name} header", request(unsigned=[(name, "x")]), f"header {name} has no")
    yield Control("HTTP/1.0", right.replace(b"HTTP/1.1", b"HTTP/1.0", 1), "not HTTP/1.1")


def alibaba_controls(endpoint: Endpoint, key_id: str, key: Key) -> Iterator[Control]:
    def request(
        *,
        method: str = "GET",
        target: str = GET_TARGET,
        body: str = "",
        date: str | None = None,
        nonce: str = "",
        secret: str = key.secret,
        signer_id: str = key_id,
        token: str | None = key.token,
        host: str = endpoint.authority,
        replace: dict[str, str] | None = None,
        unsigned: Headers | None = None,
        leave_unsigned: str = "",
        action: str = "GetSavepoint",
    ) -> bytes:
        headers = {
            "host": host,
            "workspace": "a14bd5d90a0001",
            "x-acs-action": action,
            "x-acs-version": "2022-07-18",
            "x-acs-date": date or moment("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": nonce,
            "x-acs-content-sha256": hashlib.sha256(body.encode()).hexdigest(),
        }
        if token is not None:
            headers |= {"x-acs-accesskey-id": signer_id, "x-acs-security-token": token}
        if action == "CreateSavepoint":
            headers["content-type"] = alibaba_endpoint.CONTENT_TYPE
        headers |= replace or {}
        authorization = alibaba_endpoint.vendor_authorization(
            signer_id,
            secret,
            method,
            target,
            {name: value for name, value in headers.items() if name != leave_unsigned},
            headers["x-acs-content-sha256"],
        )
        sent = [*headers.items(), ("accept", "application/json"), ("Authorization", authorization)]
        return raw_request(method, target, [*sent, *(unsigned or [])], body.encode())

    right = request(nonce="control-1")
    yield Control("a right request", right, None)
    yield Control("the same request again", right, "nonce was used already")
    yield Control(
        "a wrong secret", request(nonce="control-2", secret="EXAMPLE-wrong"), "does not match"
    )
    yield Control(
        "an unknown key", request(nonce="control-3", signer_id="EXAMPLEUNKNOWN"), "key is not found"
    )
    fresh = request(nonce="control-4")
    yield Control("a changed path", fresh.replace(b"0001 HTTP", b"0002 HTTP"), "does not match")
    yield Control("a changed workspace", fresh.replace(b"0a0001", b"0a0002"), "does not match")
    yield Control("a changed nonce", fresh.replace(b"control-4", b"control-5"), "does not match")
    yield Control("no nonce", request(nonce=""), "nonce was used already")
    yield Control(
        "a wrong token", request(nonce="control-6", token="EXAMPLE"), "security token is not"
    )
    yield Control("no token", request(nonce="control-7", token=None), "security token is not")
    for number, name in enumerate(alibaba_endpoint.ALWAYS_SIGNED):
        raw = request(nonce=f"control-8-{number}", leave_unsigned=name)
        yield Control(f"{name} not signed", raw, "signed headers")
    for number, minutes in enumerate((-16, 16)):
        date = moment("%Y-%m-%dT%H:%M:%SZ", minutes)
        raw = request(nonce=f"control-9-{number}", date=date)
        yield Control(f"a date {minutes} minutes off", raw, "15 minutes off")
    yield Control("a query", request(nonce="control-10", target=f"{GET_TARGET}?a=b"), "target ")
    yield Control(
        "a slash at the end", request(nonce="control-11", target=f"{GET_TARGET}/"), "target "
    )
    yield Control("POST", request(nonce="control-12", method="POST"), "method POST")
    yield Control(
        "a body",
        request(nonce="control-13", body="{}", unsigned=[("content-length", "2")]),
        "a body",
    )
    yield Control(
        "a hash of something else",
        request(nonce="control-14", replace={"x-acs-content-sha256": "0" * 64}),
        "content hash",
    )
    for number, (name, value) in enumerate(
        (
            ("workspace", "a/b"),
            ("x-acs-action", "DeleteSavepoint"),
            ("x-acs-version", "2014-05-26"),
            ("host", "example.com"),
        )
    ):
        raw = request(nonce=f"control-15-{number}", replace={name: value})
        yield Control(f"another {name}", raw, f"{name.capitalize() if name == 'host' else name} [")
    unread = request(nonce="control-16").replace(b"accept: application/json\r\n", b"")
    yield Control("no accept", unread, "accept []")
    doubled = request(nonce="control-17", unsigned=[("Host", endpoint.authority)])
    yield Control("two hosts", doubled, "header host more")
    for number, name in enumerate(
        ("te", "content-type", "grpc-timeout", "x-forwarded-for", "cookie")
    ):
        raw = request(nonce=f"control-18-{number}", unsigned=[(name, "x")])
        yield Control(f"a {name} header", raw, f"header {name} has no")

    def listing(nonce: str, query: str) -> bytes:
        target = f"{COLLECTION_TARGET}?{query}"
        return request(nonce=f"control-list-{nonce}", target=target, action="ListSavepoints")

    page = "pageIndex=1&pageSize=50"
    yield Control("a right list", listing("1", page), None)
    filtered = listing("2", f"deploymentId=d&jobId=j&{page}")
    yield Control("a right list of one job", filtered, None)
    fresh = listing("3", f"deploymentId=d&jobId=j&{page}")
    yield Control("a changed query", fresh.replace(b"jobId=j", b"jobId=k"), "does not match")
    for number, (name, query) in enumerate(
        (
            ("an empty filter", f"deploymentId=&{page}"),
            ("a query in another order", "pageSize=50&pageIndex=1"),
            ("page 0", "pageIndex=0&pageSize=50"),
            ("a page of 0", "pageIndex=1&pageSize=0"),
            ("a page of 101", "pageIndex=1&pageSize=101"),
            ("another name", f"{page}&sortOrder=asc"),
        )
    ):
        yield Control(name, listing(f"4-{number}", query), "target ")
    as_get = request(nonce="control-list-5", target=f"{COLLECTION_TARGET}?{page}")
    yield Control("a list that calls itself a get", as_get, "target ")

    def creation(nonce: str, body: str, **changes: Any) -> bytes:
        return request(
            nonce=f"control-create-{nonce}",
            method="POST",
            target=COLLECTION_TARGET,
            body=body,
            action="CreateSavepoint",
            unsigned=[("content-length", str(len(body.encode())))],
            **changes,
        )

    yield Control("a right creation", creation("1", '{"deploymentId":"d"}'), None)
    full = '{"deploymentId":"d","description":"第一个 \\"q\\" \\n é 😀","nativeFormat":false}'
    yield Control("a right creation of everything", creation("2", full), None)
    changed = creation("3", full).replace(b'"d"', b'"e"')
    yield Control("a changed body of a creation", changed, "content hash")
    for number, (name, body) in enumerate(
        (
            ("an escaped description", json.dumps(json.loads(full), separators=(",", ":"))),
            ("a body with spaces", '{"deploymentId": "d"}'),
            ("no deployment", '{"description":"d"}'),
            ("a format as text", '{"deploymentId":"d","nativeFormat":"true"}'),
            ("a description of null", '{"deploymentId":"d","description":null}'),
            ("a doubled deployment", '{"deploymentId":"c","deploymentId":"d"}'),
            ("another member", '{"deploymentId":"d","jobId":"j"}'),
            ("an array", "[]"),
            ("no body", ""),
        )
    ):
        yield Control(name, creation(f"4-{number}", body), "body: ")
    unsigned_type = creation("5", full, leave_unsigned="content-type")
    yield Control("content-type not signed", unsigned_type, "signed headers")
    plain_type = creation("6", full, replace={"content-type": "application/json"})
    yield Control("another content-type", plain_type, "content-type [")
