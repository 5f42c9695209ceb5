#!/usr/bin/env python3
"""Checks the gateway against the vendors' own signers.

Two fake endpoints on loopback re-sign with the vendors' code everything that the gateway sends
and refuse it for the slightest deviation; a real gRPC client asks for random things and
compares what arrived with what it asked for.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import re
import secrets as randomness
import string
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import grpc
import grpc_tools
from google.rpc import error_details_pb2, status_pb2

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import controls
import inputs
from alibaba_endpoint import (
    CREATED_AT,
    CREATED_ID,
    MODIFIED_AT,
    AlibabaEndpoint,
    alibaba_description,
    listed_ids,
    target_of,
    total_of,
    vendor_body,
)
from controls import Control, send
from endpoint import Endpoint, Exchange, Key
from gateway import Gateway, Profile
from huawei_endpoint import (
    CREATED_MS,
    UPDATED_MS,
    HuaweiEndpoint,
    huawei_message,
    import_body,
)
from inputs import (
    Asked,
    Create,
    Get,
    GetJob,
    Import,
    Invalid,
    JobCall,
    List,
    Resume,
    Stop,
    Trigger,
)
from relay import (
    Change,
    Relay,
    Trap,
    flip_body_byte,
    flip_last_byte_of,
    flip_last_path_byte,
    unchanged,
)
from tools.gateway import ROOT, binary
from tools.process import ProcessError

CALL_SECONDS = 20
CONCURRENT_CALLS = 8
SHOWN_FAILURES = 20
DEFAULT_PAGE_SIZE = 50


class Report:
    """Counts, and shows the first failures with their evidence."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.hidden: set[str] = set()
        self._section = ("", 0, 0)

    def section(self, name: str) -> None:
        self.end_section()
        self._section = (name, self.passed, self.failed)

    def end_section(self) -> None:
        name, passed, failed = self._section
        if name:
            print(
                f"{name}: {self.passed - passed} passed, {self.failed - failed} failed", flush=True
            )
        self._section = ("", 0, 0)

    def check(self, problems: Iterable[str], what: str, evidence: str = "") -> None:
        found = list(problems)
        if not found:
            self.passed += 1
            return
        self.failed += 1
        if self.failed > SHOWN_FAILURES:
            return
        text = f"FAILED {what}\n" + "\n".join(f"  {problem}" for problem in found)
        text += "".join(f"\n    {line}" for line in evidence.splitlines())
        for secret in self.hidden:
            text = text.replace(secret, "[secret]")
        print(text, flush=True)


@dataclass(frozen=True)
class Outcome:
    """What the caller saw of one call."""

    code: grpc.StatusCode
    message: str
    response: Any
    status: status_pb2.Status | None

    def details(self, kind: type) -> list[Any]:
        found = []
        for packed in self.status.details if self.status is not None else ():
            detail = kind()
            if packed.Unpack(detail):
                found.append(detail)
        return found

    def __str__(self) -> str:
        text = f"{self.code.name}: {self.message}"
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            for detail in self.details(kind):
                text += f"\n{kind.__name__}: {detail}".rstrip()
        return text


RPCS: dict[type, str] = {
    Import: "ImportSavepoint",
    Get: "GetSavepoint",
    List: "ListSavepoints",
    Create: "CreateSavepoint",
    Trigger: "TriggerSavepoint",
    GetJob: "GetJob",
    Resume: "ResumeJob",
    Stop: "StopJob",
}


class Client:
    """A gRPC client generated from the repository's proto."""

    def __init__(self, stubs: Stubs, address: str) -> None:
        self._stubs = stubs
        # A client that retried by itself would hide what the gateway answered.
        self._channel = grpc.insecure_channel(
            address, options=(("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0))
        )
        self._service = stubs.services.SavepointServiceStub(self._channel)
        self._jobs = stubs.job_services.DliServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(
        self, asked: Asked, metadata: list[tuple[str, str | bytes]] | None = None
    ) -> Outcome:
        rpc = RPCS[type(asked)]
        is_about_jobs = isinstance(asked, JobCall)
        method = getattr(self._jobs if is_about_jobs else self._service, rpc)
        messages = self._stubs.job_messages if is_about_jobs else self._stubs.messages
        request = getattr(messages, f"{rpc}Request")(**vars(asked))
        try:
            response, call = method.with_call(request, timeout=CALL_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            trailers = dict(error.trailing_metadata() or ())
            packed = trailers.get("grpc-status-details-bin")
            status = None if packed is None else status_pb2.Status.FromString(packed)
            return Outcome(error.code(), error.details() or "", None, status)
        return Outcome(call.code(), call.details() or "", response, None)


@dataclass(frozen=True)
class Stubs:
    """The modules that protoc made of the repository's proto."""

    messages: Any
    services: Any
    job_messages: Any
    job_services: Any


def generate_stubs(output: Path) -> Stubs:
    output.mkdir(parents=True, exist_ok=True)
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"-I{ROOT / 'proto'}", f"-I{ROOT / 'proto/third_party'}", f"-I{well_known}"),
            *(f"--python_out={output}", f"--grpc_python_out={output}"),
            "savepoint/v1/savepoint.proto",
            "savepoint/dli/v1/dli.proto",
        ],
        check=True,
    )
    sys.path.insert(0, str(output))
    return Stubs(
        importlib.import_module("savepoint.v1.savepoint_pb2"),
        importlib.import_module("savepoint.v1.savepoint_pb2_grpc"),
        importlib.import_module("savepoint.dli.v1.dli_pb2"),
        importlib.import_module("savepoint.dli.v1.dli_pb2_grpc"),
    )


def fake_token(rng: random.Random, length: int) -> str:
    alphabet = string.ascii_letters + string.digits + "+/="
    return ("EXAMPLE+/=" + "".join(rng.choices(alphabet, k=length)))[:length]


def profiles(rng: random.Random) -> list[Profile]:
    odd = "EXAMPLE" + "".join(rng.sample(string.punctuation, len(string.punctuation)))
    return [
        Profile(
            "key and secret only",
            "HWEXAMPLEPLAIN00001",
            "EXAMPLEsecretOfHuawei0123456789abcdefABCDEF",
            "LTAIEXAMPLEPLAIN0001",
            "EXAMPLEsecretOfAlibaba30chars0",
        ),
        Profile(
            "with a security token",
            "HWEXAMPLETOKEN00001",
            "EXAMPLE" + "".join(rng.choices(string.ascii_letters + string.digits, k=33)),
            "STS.EXAMPLETOKEN00001",
            "EXAMPLE" + "".join(rng.choices(string.ascii_letters + string.digits, k=23)),
            huawei_token="gQpjEXAMPLE+/token==",
            alibaba_token="CAISEXAMPLE+/token==",
            project_id="project-of-the-flag",
            workspace="workspace.of.the.flag",
        ),
        Profile(
            "with a security token of 2 KB",
            "HWEXAMPLELONG000001",
            "EXAMPLEsecretOfHuawei0123456789abcdefABCDEF",
            "STS.EXAMPLELONG000001",
            "EXAMPLEsecretOfAlibaba30chars0",
            huawei_token=fake_token(rng, 2048),
            alibaba_token=fake_token(rng, 2048),
            project_id="project_of_the_environment",
            project_id_from_environment=True,
        ),
        Profile(
            "secrets of all punctuation",
            "HWEXAMPLEODD0000001",
            odd,
            "LTAIEXAMPLEODD000001",
            odd[::-1],
        ),
        Profile(
            "a short and a long secret, tokens of odd characters",
            "HWEXAMPLEODDTOKEN01",
            "EXAMPLE!",
            "STS.EXAMPLEODDTOKEN01",
            "EXAMPLE" + "".join(rng.choices(string.printable[:94], k=249)),
            huawei_token="+/=EXAMPLE=/+" + string.punctuation,
            alibaba_token=string.punctuation[::-1] + "=/+EXAMPLE+/=",
        ),
    ]


# --- What arrived, compared with what was asked for -------------------------------------


def import_differences(asked: Import, exchange: Exchange) -> list[str]:
    target = f"/v1.0/{asked.project_id}/streaming/jobs/{asked.job_id}/import-savepoint"
    other = differences(("target", target_of(exchange.request), target))
    if other:
        return other
    job_id, savepoint_path = import_body(exchange.request.body)
    return differences(
        ("target", target_of(exchange.request), target),
        ("X-Project-Id", exchange.request.value("x-project-id"), asked.project_id),
        ("job_id", job_id, asked.job_id),
        ("savepoint_path", savepoint_path.encode(), asked.savepoint_path.encode()),
    )


def job_differences(asked: JobCall, exchange: Exchange) -> list[str]:
    jobs = f"/v1.0/{asked.project_id}/streaming/jobs"
    target, body = f"{jobs}/{asked.job_id}", None
    if isinstance(asked, Trigger):
        target = f"{target}/savepoint"
        body = {"action": "TRIGGER", "savepoint_path": asked.savepoint_path}
    elif isinstance(asked, Resume):
        target, body = f"{jobs}/run", {"resume_savepoint": True, "job_ids": [asked.job_id]}
    elif isinstance(asked, Stop):
        target = f"{jobs}/stop"
        body = {"trigger_savepoint": asked.trigger_savepoint, "job_ids": [asked.job_id]}
    sent = json.loads(exchange.request.body) if exchange.request.body else None
    return differences(
        ("target", target_of(exchange.request), target),
        ("X-Project-Id", exchange.request.value("x-project-id"), asked.project_id),
        ("body", sent, body),
    )


def job_response_differences(
    stubs: Stubs, asked: JobCall, response: Any, request_id: str
) -> list[str]:
    if not isinstance(asked, GetJob):
        return import_response_differences(response, request_id)
    messages = stubs.job_messages
    milliseconds = 1_000_000
    want = messages.GetJobResponse(
        request_id=request_id,
        job=messages.Job(
            job_id=asked.job_id,
            name=f"job of {request_id}",
            description=huawei_message(request_id),
            job_type="flink_jar_job",
            queue_name="queue-1",
            state=messages.JOB_STATE_RUNNING,
            provider_state="job_running",
            has_savepoint=True,
            savepoint_path=f"obs://bucket/{request_id}/",
            create_time={
                "seconds": CREATED_MS // 1000,
                "nanos": CREATED_MS % 1000 * milliseconds,
            },
            update_time={
                "seconds": UPDATED_MS // 1000,
                "nanos": UPDATED_MS % 1000 * milliseconds,
            },
        ),
    )
    return message_differences(response, want)


def get_differences(asked: Get, exchange: Exchange) -> list[str]:
    target = f"/api/v2/namespaces/{asked.namespace}/savepoints/{asked.savepoint_id}"
    return differences(
        ("target", target_of(exchange.request), target),
        ("workspace", exchange.request.value("workspace"), asked.workspace),
    )


def list_differences(asked: List, exchange: Exchange, index: int = 1) -> list[str]:
    query = {
        "deploymentId": asked.deployment_id,
        "jobId": asked.job_id,
        "pageIndex": index,
        "pageSize": size_of(asked),
    }
    # As the SDK writes it, and without the filters that are empty.
    written = urlencode({name: value for name, value in query.items() if value})
    return differences(
        (
            "target",
            target_of(exchange.request),
            f"/api/v2/namespaces/{asked.namespace}/savepoints?{written}",
        ),
        ("workspace", exchange.request.value("workspace"), asked.workspace),
        ("action", exchange.request.value("x-acs-action"), "ListSavepoints"),
    )


def create_differences(asked: Create, exchange: Exchange) -> list[str]:
    body: dict[str, object] = {"deploymentId": asked.deployment_id}
    if asked.description:
        body["description"] = asked.description
    if asked.native_format is not None:
        body["nativeFormat"] = asked.native_format
    target = f"/api/v2/namespaces/{asked.namespace}/savepoints"
    return differences(
        ("target", target_of(exchange.request), target),
        ("workspace", exchange.request.value("workspace"), asked.workspace),
        ("body", exchange.request.body, vendor_body(body)),
        ("action", exchange.request.value("x-acs-action"), "CreateSavepoint"),
    )


def size_of(asked: List) -> int:
    return asked.page_size or DEFAULT_PAGE_SIZE


def differences(*pairs: tuple[str, object, object]) -> list[str]:
    return [
        f"{name}: {got!r} arrived, {want!r} was asked" for name, got, want in pairs if got != want
    ]


def import_response_differences(response: Any, request_id: str) -> list[str]:
    want = huawei_message(request_id)
    got = response.message
    return [] if got == want else [f"message: {got!r}, not {want!r}"]


def savepoint_message(
    stubs: Stubs, savepoint_id: str, namespace: str, request_id: str, state: str
) -> Any:
    messages = stubs.messages
    return messages.Savepoint(
        savepoint_id=savepoint_id,
        deployment_id=f"deployment of {request_id}",
        job_id=f"job of {request_id}",
        namespace=namespace,
        origin=messages.SAVEPOINT_ORIGIN_USER_REQUEST,
        provider_origin="USER_REQUEST",
        native_format=True,
        description=alibaba_description(request_id),
        stop_with_drain_enabled=False,
        savepoint_location=f"https://oss/bucket/{namespace}/{savepoint_id}",
        status=messages.SavepointStatus(
            state=messages.SavepointState.Value(f"SAVEPOINT_STATE_{state}"),
            provider_state=state,
        ),
        create_time={"seconds": CREATED_AT},
        update_time={"seconds": MODIFIED_AT},
    )


def get_response_differences(stubs: Stubs, asked: Get, response: Any, request_id: str) -> list[str]:
    want = stubs.messages.GetSavepointResponse(
        request_id=request_id,
        savepoint=savepoint_message(
            stubs, asked.savepoint_id, asked.namespace, request_id, "COMPLETED"
        ),
    )
    return message_differences(response, want)


def create_response_differences(
    stubs: Stubs, asked: Create, response: Any, request_id: str
) -> list[str]:
    want = stubs.messages.CreateSavepointResponse(
        request_id=request_id,
        savepoint=savepoint_message(stubs, CREATED_ID, asked.namespace, request_id, "STARTED"),
    )
    return message_differences(response, want)


def list_response_differences(
    stubs: Stubs, asked: List, response: Any, request_id: str, index: int = 1
) -> list[str]:
    size = size_of(asked)
    want = stubs.messages.ListSavepointsResponse(
        request_id=request_id,
        savepoints=[
            savepoint_message(stubs, name, asked.namespace, request_id, "COMPLETED")
            for name in listed_ids(index, size)
        ],
        # What is in a token is the gateway's own affair; where it leads is checked elsewhere.
        next_page_token=response.next_page_token,
        total_size=total_of(size),
    )
    problems = message_differences(response, want)
    if bool(response.next_page_token) != (index * size < total_of(size)):
        problems.append(f"next_page_token {response.next_page_token!r} on page {index}")
    return problems


def message_differences(got: Any, want: Any) -> list[str]:
    return [] if got == want else [f"response:\n{got}\nnot\n{want}"]


@dataclass
class Bench:
    """Everything that the phases share."""

    binary: Path
    stubs: Stubs
    report: Report
    seed: str
    huawei: HuaweiEndpoint
    alibaba: AlibabaEndpoint
    trap: Trap

    def rng(self, purpose: str) -> random.Random:
        # One generator per purpose: a change in one phase leaves the others' inputs alone.
        return random.Random(f"{self.seed}/{purpose}")

    def endpoint_of(self, asked: Asked) -> Endpoint:
        return self.huawei if isinstance(asked, Import | JobCall) else self.alibaba

    def gateway(
        self, profile: Profile, huawei_url: str | None = None, alibaba_url: str | None = None
    ) -> Gateway:
        self.report.hidden.update(profile.secrets())
        return Gateway(
            self.binary,
            profile,
            huawei_url or self.huawei.url,
            alibaba_url or self.alibaba.url,
            self.trap.url,
        )

    def check_end(self, gateway: Gateway) -> None:
        """What a gateway must have done by the time it has ended."""
        name = gateway.profile.name
        problems = [] if gateway.exit_code == 0 else [f"exit code {gateway.exit_code}"]
        self.report.check(problems, f"{name}: SIGTERM ends the gateway with 0")
        text = "\n".join(gateway.log)
        leaks = sum(appears(secret, text) for secret in gateway.profile.secrets())
        self.report.check(
            [f"{leaks} of the secrets are in the log"] if leaks else [],
            f"{name}: no secret is in {len(gateway.log)} lines of log",
        )

    def check_call(self, asked: Asked, effective: Asked, outcome: Outcome) -> None:
        """`effective` is `asked` with the gateway's defaults in place of empty fields."""
        endpoint = self.endpoint_of(asked)
        exchange: Exchange | None = None
        problems: list[str] = []
        if outcome.code is not grpc.StatusCode.OK:
            problems.append(f"not OK but {outcome}")
            for info in outcome.details(error_details_pb2.ErrorInfo):
                exchange = endpoint.by_request_id(info.metadata.get("providerRequestId", ""))
        else:
            request_id = outcome.response.request_id
            exchange = endpoint.by_request_id(request_id)
            if exchange is None:
                problems.append(f"request_id {request_id!r} is none that the endpoint gave")
            elif isinstance(effective, Import):
                problems += import_differences(effective, exchange)
                problems += import_response_differences(outcome.response, request_id)
            elif isinstance(effective, JobCall):
                problems += job_differences(effective, exchange)
                problems += job_response_differences(
                    self.stubs, effective, outcome.response, request_id
                )
            elif isinstance(effective, List):
                problems += list_differences(effective, exchange)
                problems += list_response_differences(
                    self.stubs, effective, outcome.response, request_id
                )
            elif isinstance(effective, Create):
                problems += create_differences(effective, exchange)
                problems += create_response_differences(
                    self.stubs, effective, outcome.response, request_id
                )
            else:
                problems += get_differences(effective, exchange)
                problems += get_response_differences(
                    self.stubs, effective, outcome.response, request_id
                )
        if exchange is not None:
            problems += exchange.faults
        self.report.check(problems, f"{asked!r}", evidence(exchange))


def evidence(exchange: Exchange | None) -> str:
    return "no request arrived" if exchange is None else f"on the wire: {exchange.request.raw!r}"


def appears(secret: str, text: str) -> bool:
    """Whether a text shows a secret, as it is or escaped as JSON."""
    escaped = (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True))
    return any(form in text for form in (secret, *escaped))


# --- The phases --------------------------------------------------------------------------


def check_endpoints(bench: Bench, key_profile: Profile) -> None:
    """The endpoints find every fault that a request is given on purpose."""
    bench.report.section("requests made by hand with the vendors' signers")
    for endpoint, key_id, requests in (
        (bench.huawei, key_profile.huawei_key_id, controls.huawei_controls),
        (bench.alibaba, key_profile.alibaba_key_id, controls.alibaba_controls),
    ):
        for control in requests(endpoint, key_id, endpoint.keys[key_id]):
            exchange = send(endpoint, control.raw)
            bench.report.check(
                control_problems(control, exchange),
                f"{endpoint.request_id_header}: {control.name}",
                evidence(exchange),
            )


def control_problems(control: Control, exchange: Exchange) -> list[str]:
    status = exchange.answer.status
    if control.fault is None:
        return [*exchange.faults, *([] if status == 200 else [f"answered {status}"])]
    if status == 200:
        return ["answered 200"]
    if not any(control.fault in fault for fault in exchange.faults):
        return [f"no fault with {control.fault!r}, only {exchange.faults}"]
    return []


def check_valid_calls(bench: Bench, all_profiles: list[Profile], count: int) -> None:
    """Every valid call is OK, and what arrived is what was asked."""
    rng = bench.rng("valid")
    imports, gets = inputs.imports(rng, count), inputs.gets(rng, count)
    lists, creates = inputs.lists(rng, count), inputs.creates(rng, count)
    jobs = inputs.job_calls(rng, count // 4)
    for number, profile in enumerate(all_profiles):
        bench.report.section(f"valid calls, {profile.name}")
        mine: list[Asked] = [
            one
            for kind in (imports, gets, lists, creates, jobs)
            for one in kind[number :: len(all_profiles)]
        ]
        if profile.project_id is not None:
            mine += [Import("", one.job_id, one.savepoint_path) for one in imports[:3]]
        if profile.workspace is not None:
            mine += [
                replace(one, workspace="") for one in (*gets[:3], *lists[:3], *creates[:3])
            ]
        rng.shuffle(mine)
        with bench.gateway(profile) as gateway, Client(bench.stubs, gateway.address) as client:
            starts = bench.huawei.count, bench.alibaba.count
            check_batch(bench, client, profile, mine, rng)
            arrived = [*bench.huawei.since(starts[0]), *bench.alibaba.since(starts[1])]
            bench.report.check(
                []
                if len(arrived) == len(mine)
                else [f"{len(arrived)} requests, {len(mine)} calls"],
                f"{profile.name}: one request per call",
            )
        bench.check_end(gateway)


def check_batch(
    bench: Bench,
    client: Client,
    profile: Profile,
    calls: list[Asked],
    rng: random.Random,
) -> None:
    metadata = [inputs.metadata(rng) for _ in calls]
    alone = len(calls) // 3
    outcomes = [client.call(calls[at], metadata[at]) for at in range(alone)]
    with ThreadPoolExecutor(CONCURRENT_CALLS) as pool:
        outcomes += pool.map(client.call, calls[alone:], metadata[alone:])
    for asked, outcome in zip(calls, outcomes, strict=True):
        effective: Asked = asked
        if isinstance(asked, Import | JobCall):
            if not asked.project_id:
                effective = replace(asked, project_id=profile.project_id or "")
        elif not asked.workspace:
            effective = replace(asked, workspace=profile.workspace or "")
        bench.check_call(asked, effective, outcome)


def check_pages(bench: Bench, profile: Profile) -> None:
    """Page after page is what was asked for, and a token leads nowhere else."""
    bench.report.section("lists of several pages")
    rng = bench.rng("pages")
    with bench.gateway(profile) as gateway, Client(bench.stubs, gateway.address) as client:
        for first in inputs.lists(rng, 10):
            token = ""
            for index in (1, 2, 3):
                # With a token the size may be left out.
                size = first.page_size if index < 3 else 0
                asked = replace(first, page_size=size, page_token=token)
                outcome = client.call(asked, inputs.metadata(rng))
                exchange = None
                if outcome.code is not grpc.StatusCode.OK:
                    problems = [f"not OK but {outcome}"]
                else:
                    request_id = outcome.response.request_id
                    exchange = bench.alibaba.by_request_id(request_id)
                    problems = (
                        [f"request_id {request_id!r} is none that the endpoint gave"]
                        if exchange is None
                        else list_differences(first, exchange, index)
                        + list_response_differences(
                            bench.stubs, first, outcome.response, request_id, index
                        )
                    )
                bench.report.check(problems, f"page {index} of {first!r}", evidence(exchange))
                if problems:
                    break
                if index == 1:
                    check_token(bench, client, first, outcome.response.next_page_token)
                token = outcome.response.next_page_token
    bench.check_end(gateway)


def check_token(bench: Bench, client: Client, listed: List, token: str) -> None:
    """The token of a list is refused for every other one, before anything is sent."""
    start = bench.alibaba.count
    for other in (
        replace(listed, workspace=listed.workspace[:-1] + "-"),
        replace(listed, namespace=listed.namespace[:-1] + "-"),
        replace(listed, deployment_id=(listed.deployment_id or "a")[:1] + "-"),
        replace(listed, job_id=(listed.job_id or "a")[:1] + "-"),
        replace(listed, deployment_id="a" + listed.job_id[1:], job_id=listed.deployment_id),
        replace(listed, page_size=size_of(listed) % 100 + 1),
    ):
        # The first character must stay one that may begin an id.
        if other == listed or other.workspace == "-" or other.namespace == "-":
            continue
        asked = replace(other, page_token=token)
        problems = invalid_problems(Invalid(asked, frozenset({"page_token"})), client.call(asked))
        bench.report.check(problems, f"{asked!r}")
    sent = bench.alibaba.count - start
    bench.report.check([f"{sent} were sent"] if sent else [], "wrong tokens stay in the gateway")


def check_comparison(bench: Bench) -> None:
    """The comparison tells what arrived from what was asked by somebody else."""
    bench.report.section("the comparison, given another call's request")

    def check(
        endpoint: Endpoint, other: Asked, differences: Callable[..., list[str]]
    ) -> None:
        arrived = [one for one in endpoint.since(0) if not one.faults]
        taken = sum(not differences(other, one) for one in arrived)
        problems = [f"{taken} requests are taken for it"] if taken else []
        bench.report.check(problems if arrived else ["no request to compare"], f"{other!r}")

    for asked in (
        Import("another", 137228, "obs://bucket-name/dir/savepoint/"),
        Import(controls.PROJECT_ID, 137229, "obs://bucket-name/dir/savepoint/"),
        Import(controls.PROJECT_ID, 137228, "obs://bucket-name/dir/savepoint/ "),
    ):
        check(bench.huawei, asked, import_differences)
    plain = inputs.gets(bench.rng("comparison"), 0)[0]
    for wanted in (
        Get(plain.workspace + "0", plain.namespace, plain.savepoint_id),
        Get(plain.workspace, plain.namespace + "0", plain.savepoint_id),
        Get(plain.workspace, plain.namespace, plain.savepoint_id + "0"),
    ):
        check(bench.alibaba, wanted, get_differences)
    listed = inputs.lists(bench.rng("comparison"), 0)[-1]
    for of_list in (
        replace(listed, workspace=listed.workspace + "0"),
        replace(listed, deployment_id=listed.job_id, job_id=listed.deployment_id),
        replace(listed, page_size=98),
    ):
        check(bench.alibaba, of_list, list_differences)
    created = inputs.creates(bench.rng("comparison"), 0)[0]
    for of_create in (
        replace(created, deployment_id=created.deployment_id + "0"),
        replace(created, description=created.description + "\x1e "),
    ):
        check(bench.alibaba, of_create, create_differences)


def rejected_problems(outcome: Outcome, arrived: int) -> list[str]:
    """Credentials that the provider refused: said so, and not tried again."""
    problems = []
    if outcome.code is not grpc.StatusCode.UNAUTHENTICATED:
        problems.append(f"not UNAUTHENTICATED but {outcome}")
    infos = outcome.details(error_details_pb2.ErrorInfo)
    if [info.reason for info in infos] != ["PROVIDER_CREDENTIALS_REJECTED"]:
        problems.append(f"reasons {[info.reason for info in infos]}")
    if arrived != 1:
        problems.append(f"{arrived} upstream requests, not 1")
    return problems


def check_rejected(bench: Bench, right: Profile) -> None:
    """Wrong secrets and wrong tokens are refused by the vendors' signers."""
    rng = bench.rng("rejected")
    right = replace(right, project_id=None, workspace=None)
    wrong_secret = replace(
        right,
        name="wrong secrets",
        huawei_secret=right.huawei_secret[:-1] + "~",
        alibaba_secret=right.alibaba_secret[:-1] + "~",
    )
    wrong_token = replace(
        right,
        name="wrong tokens",
        huawei_token="EXAMPLE-wrong-token",
        alibaba_token="EXAMPLE-wrong-token",
    )
    for profile in (wrong_secret, wrong_token):
        bench.report.section(f"negative control, {profile.name}")
        calls: list[Asked] = [
            *inputs.imports(rng, 3)[-3:],
            *inputs.gets(rng, 3)[-3:],
            *inputs.lists(rng, 3)[-3:],
            *inputs.creates(rng, 3)[-3:],
        ]
        with bench.gateway(profile) as gateway, Client(bench.stubs, gateway.address) as client:
            for asked in calls:
                endpoint = bench.endpoint_of(asked)
                start = endpoint.count
                outcome = client.call(asked)
                arrived = endpoint.since(start)
                problems = rejected_problems(outcome, len(arrived))
                shown = str(outcome)
                problems += [
                    "a secret is in the status" for one in profile.secrets() if appears(one, shown)
                ]
                bench.report.check(problems, f"{profile.name}: {asked!r}", shown)
        bench.check_end(gateway)


def check_relay(bench: Bench, profile: Profile) -> None:
    """One bit changed on the way is found; nothing changed is not."""
    bench.report.section("negative control, a man in the middle")
    huawei, alibaba = Relay(bench.huawei.authority), Relay(bench.alibaba.authority)
    bench.huawei.authorities.add(huawei.authority)
    bench.alibaba.authorities.add(alibaba.authority)
    changes: list[tuple[str, type[Asked], Change]] = [
        ("the path", Import, flip_last_path_byte),
        ("the body", Import, flip_body_byte),
        ("X-Project-Id", Import, flip_last_byte_of(b"x-project-id")),
        ("the path", Get, flip_last_path_byte),
        ("the workspace", Get, flip_last_byte_of(b"workspace")),
        ("the nonce", Get, flip_last_byte_of(b"x-acs-signature-nonce")),
        ("the query", List, flip_last_path_byte),
        ("the action", List, flip_last_byte_of(b"x-acs-action")),
        ("the body", Create, flip_body_byte),
        ("the content type", Create, flip_last_byte_of(b"content-type")),
    ]
    asked: dict[type, Asked] = {
        Import: Import("project", 137228, "obs://bucket-name/dir/savepoint/"),
        Get: Get("a14bd5d90a0001", "default-namespace", "88a8fc49-e090-430a-85d8-3ee8c79c0001"),
        List: List("a14bd5d90a0001", "default-namespace", "deployment", "job", 10),
        Create: Create("a14bd5d90a0001", "default-namespace", "deployment", "第一个", True),
    }
    try:
        with (
            bench.gateway(profile, huawei.url, alibaba.url) as gateway,
            Client(bench.stubs, gateway.address) as client,
        ):
            for what, kind, change in changes:
                relay = huawei if kind is Import else alibaba
                # Unchanged first: otherwise the relay itself might be what is found.
                relay.change = unchanged
                call = asked[kind]
                bench.check_call(call, call, client.call(call))
                relay.change = change
                start = bench.endpoint_of(call).count
                outcome = client.call(call)
                arrived = bench.endpoint_of(call).since(start)
                bench.report.check(
                    rejected_problems(outcome, len(arrived)),
                    f"a bit of {what} changed in {call!r}",
                    "\n".join(evidence(one) for one in arrived),
                )
        bench.check_end(gateway)
    finally:
        for relay in (huawei, alibaba):
            relay.close()


def check_invalid(bench: Bench, profile: Profile, count: int) -> None:
    """Invalid requests are refused with all their bad fields named, and nothing is sent."""
    bench.report.section("invalid requests")
    rng = bench.rng("invalid")
    starts = bench.huawei.count, bench.alibaba.count
    made = [
        *inputs.invalid_imports(rng, count),
        *inputs.invalid_gets(rng, count),
        *inputs.invalid_lists(rng, count),
        *inputs.invalid_creates(rng, count),
    ]
    with bench.gateway(profile) as gateway, Client(bench.stubs, gateway.address) as client:
        for invalid in made:
            outcome = client.call(invalid.request, inputs.metadata(rng))
            problems = invalid_problems(invalid, outcome)
            bench.report.check(problems, f"{invalid.request!r}", str(outcome))
        for endpoint, start in ((bench.huawei, starts[0]), (bench.alibaba, starts[1])):
            sent = endpoint.since(start)
            bench.report.check(
                [f"{len(sent)} upstream requests, not 0"] if sent else [],
                f"{endpoint.request_id_header}: invalid requests stay in the gateway",
                "\n".join(evidence(one) for one in sent[:5]),
            )
    bench.check_end(gateway)


def invalid_problems(invalid: Invalid, outcome: Outcome) -> list[str]:
    if outcome.code is not grpc.StatusCode.INVALID_ARGUMENT:
        return [f"not INVALID_ARGUMENT but {outcome}"]
    problems = []
    infos = outcome.details(error_details_pb2.ErrorInfo)
    if [info.domain for info in infos] != ["savepoint-gateway"]:
        problems.append(f"ErrorInfo domains {[info.domain for info in infos]}")
    if not all(re.fullmatch(r"[A-Z][A-Z0-9_]{0,61}[A-Z0-9]", info.reason) for info in infos):
        problems.append(f"ErrorInfo reasons {[info.reason for info in infos]}")
    violations = [
        violation
        for bad_request in outcome.details(error_details_pb2.BadRequest)
        for violation in bad_request.field_violations
    ]
    named = [violation.field for violation in violations]
    if sorted(named) != sorted(invalid.fields):
        problems.append(f"names {sorted(named)}, not {sorted(invalid.fields)}")
    if not all(violation.description for violation in violations):
        problems.append("a violation without a description")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--gateway",
        type=Path,
        help="the gateway's binary (default: $SAVEPOINT_GATEWAY_BIN, else the release build)",
    )
    parser.add_argument("--seed", help="repeats the inputs of a run (default: a new one)")
    parser.add_argument(
        "--count",
        type=int,
        default=200,
        help="random valid calls per RPC (default: %(default)s)",
    )
    parser.add_argument(
        "--invalid-count",
        type=int,
        default=100,
        help="random invalid calls per RPC (default: %(default)s)",
    )
    parser.add_argument(
        "--generated",
        type=Path,
        default=ROOT / "target/cross-check/generated",
        help="the folder for the generated client (default: %(default)s)",
    )
    options = parser.parse_args()
    if min(options.count, options.invalid_count) < 1:
        parser.error("--count and --invalid-count must be at least 1")
    seed = options.seed or str(randomness.randbelow(2**32))
    print(f"seed {seed}", flush=True)

    report = Report()
    all_profiles = profiles(random.Random(f"{seed}/profiles"))
    bench = Bench(
        binary(options.gateway),
        generate_stubs(options.generated),
        report,
        seed,
        HuaweiEndpoint(
            {p.huawei_key_id: Key(p.huawei_secret, p.huawei_token) for p in all_profiles}
        ),
        AlibabaEndpoint(
            {p.alibaba_key_id: Key(p.alibaba_secret, p.alibaba_token) for p in all_profiles}
        ),
        Trap(),
    )
    plain, with_token = all_profiles[:2]
    check_endpoints(bench, with_token)
    try:
        check_valid_calls(bench, all_profiles, options.count)
        check_pages(bench, with_token)
        check_comparison(bench)
        check_rejected(bench, with_token)
        check_relay(bench, with_token)
        check_invalid(bench, plain, options.invalid_count)
    except ProcessError as error:
        report.check([str(error)], "the gateway starts and logs that it listens")
    report.section("the proxy that the environment names")
    problems = [f"{bench.trap.connections} connections"] if bench.trap.connections else []
    report.check(problems, "the gateway does not use it")
    report.end_section()
    for closable in (bench.huawei, bench.alibaba, bench.trap):
        closable.close()
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
