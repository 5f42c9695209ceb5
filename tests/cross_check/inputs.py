"""Random requests, valid and invalid, all of them from one seed."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

ALPHANUMERIC = string.digits + string.ascii_letters
PROJECT = ALPHANUMERIC + "_-"
WORKSPACE = ALPHANUMERIC + "_.-"
SEGMENT = ALPHANUMERIC + "_.~-"

MAX_JOB_ID = 2**63 - 1
MAX_PATH_BYTES = 1024
MAX_PAGE_SIZE = 100

# Texts that something on the way might decode, escape, trim, fold or cut.
PATH_PIECES = (
    "obs://",
    "bucket-name/",
    "dir/",
    "//",
    "/../",
    "/./",
    " ",
    "  ",
    '"',
    "'",
    "`",
    "\\",
    "\\\\",
    "\\n",
    "\\u0041",
    "\\ud800",
    "%2F",
    "%00",
    "%",
    "+",
    "&",
    "?a=b",
    "#frag",
    "{}",
    "${HOME}",
    "</script>",
    "é",
    "e\u0301",
    "ß",
    "目录",
    "かな",
    "한글",
    "שלום",
    "\u202e",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\u200b",
    "\u00a0",
    "\u3000",
    "\ufffd",
    "\uffff",
    "\U0010ffff",
    "😀",
    "👩‍👩‍👧",
    "🇨🇳",
)

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))]


@dataclass(frozen=True)
class Trigger:
    project_id: str
    job_id: int
    savepoint_path: str


@dataclass(frozen=True)
class GetJob:
    project_id: str
    job_id: int


@dataclass(frozen=True)
class Resume:
    project_id: str
    job_id: int


@dataclass(frozen=True)
class Stop:
    project_id: str
    job_id: int
    trigger_savepoint: bool


JobCall = Trigger | GetJob | Resume | Stop


@dataclass(frozen=True)
class Import:
    project_id: str
    job_id: int
    savepoint_path: str


@dataclass(frozen=True)
class Get:
    workspace: str
    namespace: str
    savepoint_id: str


@dataclass(frozen=True)
class List:
    workspace: str
    namespace: str
    deployment_id: str
    job_id: str
    page_size: int
    page_token: str = ""


@dataclass(frozen=True)
class Create:
    workspace: str
    namespace: str
    deployment_id: str
    description: str
    native_format: bool | None


Asked = Import | Get | List | Create | JobCall


def text_of(rng: random.Random, alphabet: str, first: str, longest: int) -> str:
    # The ends of the permitted range matter more than its middle.
    length = rng.choice((1, 2, longest - 1, longest, rng.randint(1, longest)))
    return rng.choice(first) + "".join(rng.choices(alphabet, k=length - 1))


def project_id(rng: random.Random) -> str:
    return text_of(rng, PROJECT, PROJECT, 64)


def workspace(rng: random.Random) -> str:
    return text_of(rng, WORKSPACE, ALPHANUMERIC, 128)


def segment(rng: random.Random) -> str:
    return text_of(rng, SEGMENT, ALPHANUMERIC, 128)


def job_id(rng: random.Random) -> int:
    return rng.choice(
        (
            1,
            MAX_JOB_ID,
            rng.randint(1, 2**31),
            rng.randint(2**31 - 2, 2**31 + 2),
            rng.randint(2**53 - 2, 2**53 + 2),
            rng.randint(MAX_JOB_ID - 9, MAX_JOB_ID),
            rng.randint(1, 2 ** rng.randint(1, 63) - 1),
        )
    )


def savepoint_path(rng: random.Random) -> str:
    limit = rng.choice((rng.randint(1, 40), rng.randint(1, MAX_PATH_BYTES), MAX_PATH_BYTES))
    text = ""
    size = 0
    while size < limit:
        piece = rng.choice((rng.choice(PATH_PIECES), rng.choice(string.ascii_letters)))
        if size + len(piece.encode()) > limit:
            piece = rng.choice(string.printable[:94])
        text += piece
        size += len(piece.encode())
    return text


def job_calls(rng: random.Random, count: int) -> list[JobCall]:
    """`count` random requests about jobs, after the edges that none may miss."""
    calls: list[JobCall] = []
    for one in imports(rng, count):
        calls.append(Trigger(one.project_id, one.job_id, one.savepoint_path))
    for one in imports(rng, count)[: count + 8]:
        calls += [
            GetJob(one.project_id, one.job_id),
            Resume(one.project_id, one.job_id),
            Stop(one.project_id, one.job_id, rng.random() < 0.5),
        ]
    return calls


def imports(rng: random.Random, count: int) -> list[Import]:
    """`count` random requests, after the edges that none may miss."""
    project = "0605767b3300d5762fb7c0186d9e1779"
    plain = "obs://bucket-name/dir/savepoint/"
    edges = [
        Import(project, number, plain)
        for number in (1, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, MAX_JOB_ID - 1, MAX_JOB_ID)
    ]
    edges += [Import(project, 137228, piece) for piece in PATH_PIECES]
    edges += [
        Import(project, 137228, path)
        for path in (
            "bucket-name/dir",
            " leading and trailing ",
            "x" * MAX_PATH_BYTES,
            "é" * (MAX_PATH_BYTES // 2),
            "😀" * (MAX_PATH_BYTES // 4),
            string.printable[:95],
        )
    ]
    edges += [Import(text, 137228, plain) for text in ("-", "_", "0", "Z", PROJECT)]
    return edges + [Import(project_id(rng), job_id(rng), savepoint_path(rng)) for _ in range(count)]


def gets(rng: random.Random, count: int) -> list[Get]:
    """`count` random requests, after the edges that none may miss."""
    plain = Get("a14bd5d90a0001", "default-namespace", "88a8fc49-e090-430a-85d8-3ee8c79c0001")
    edges = [plain]
    for text in ("0", "Z", "a..", "a.", "a-", "a_", "a" * 128, ALPHANUMERIC + "_.-"):
        edges.append(Get(text, plain.namespace, plain.savepoint_id))
    for text in ("0", "Z", "a..", "a.", "a~", "a" * 128, SEGMENT, "a...b", "a~b~.~"):
        edges.append(Get(plain.workspace, text, plain.savepoint_id))
        edges.append(Get(plain.workspace, plain.namespace, text))
    return edges + [Get(workspace(rng), segment(rng), segment(rng)) for _ in range(count)]


def filter_of(rng: random.Random) -> str:
    """An id, or none, which lists everything."""
    return rng.choice(("", segment(rng)))


def page_size(rng: random.Random) -> int:
    return rng.choice((0, 1, 2, 9, 10, 99, MAX_PAGE_SIZE, rng.randint(1, MAX_PAGE_SIZE)))


def lists(rng: random.Random, count: int) -> list[List]:
    """`count` random requests for a first page, after the edges that none may miss."""
    plain = List("a14bd5d90a0001", "default-namespace", "", "", 0)
    deployment, job = "58718c99-3b29-4c5e-93bb-c9fc4ec60001", "5af678c0-7db0-4650-94c2-d2604f0a0001"
    edges = [plain]
    for size in (1, 9, 10, 50, 99, MAX_PAGE_SIZE):
        edges.append(replace(plain, page_size=size))
    for text in ("0", "Z", "a..", "a~", "a" * 128, SEGMENT, "a~b~.~"):
        edges.append(replace(plain, namespace=text))
        edges.append(replace(plain, deployment_id=text))
        edges.append(replace(plain, job_id=text))
    edges.append(replace(plain, deployment_id=deployment, job_id=job, page_size=MAX_PAGE_SIZE))
    return edges + [
        List(workspace(rng), segment(rng), filter_of(rng), filter_of(rng), page_size(rng))
        for _ in range(count)
    ]


def description(rng: random.Random) -> str:
    """What a path may be, and also empty or with controls."""
    text = savepoint_path(rng)[: rng.choice((0, 20, MAX_PATH_BYTES))]
    spoiled = _spoiled(rng, text, CONTROLS)
    return spoiled if rng.random() < 0.3 and len(spoiled.encode()) <= MAX_PATH_BYTES else text


def creates(rng: random.Random, count: int) -> list[Create]:
    """`count` random requests, after the edges that none may miss."""
    plain = Create(
        "a14bd5d90a0001",
        "default-namespace",
        "58718c99-3b29-4c5e-93bb-c9fc4ec60001",
        "before the upgrade",
        None,
    )
    edges = [replace(plain, native_format=native) for native in (None, False, True)]
    edges += [replace(plain, description=text) for text in ("", *PATH_PIECES, *CONTROLS)]
    edges += [
        replace(plain, description=text)
        for text in (
            '第一个 "q" \\ \n é 😀',
            " leading and trailing ",
            "x" * MAX_PATH_BYTES,
            "😀" * (MAX_PATH_BYTES // 4),
            "\x00" * MAX_PATH_BYTES,
            string.printable,
        )
    ]
    for text in ("0", "Z", "a..", "a~", "a" * 128, SEGMENT):
        edges.append(replace(plain, namespace=text))
        edges.append(replace(plain, deployment_id=text))
    return edges + [
        Create(
            workspace(rng),
            segment(rng),
            segment(rng),
            description(rng),
            rng.choice((None, False, True)),
        )
        for _ in range(count)
    ]


# --- Invalid requests -----------------------------------------------------------------

# None of these is in any of the alphabets.
STRANGERS = [
    *CONTROLS,
    *" /\\%?#&=+*:;,@!$'\"()[]{}<>|^`",
    "é",
    "目",
    "\uff10",
    "\uff21",
    "\u00ad",
    "\u200b",
    "😀",
]


def _spoiled(rng: random.Random, valid: str, strangers: list[str]) -> str:
    at = rng.choice((0, len(valid), rng.randint(0, len(valid))))
    return valid[:at] + rng.choice(strangers) + valid[at:]


def bad_project_id(rng: random.Random) -> str:
    return rng.choice(
        (
            "",
            PROJECT[rng.randrange(len(PROJECT))] * rng.randint(65, 300),
            _spoiled(rng, project_id(rng)[:63], [*STRANGERS, ".", "~"]),
        )
    )


def bad_job_id(rng: random.Random) -> int:
    return rng.choice((0, -1, -MAX_JOB_ID - 1, -rng.randint(1, MAX_JOB_ID)))


def bad_savepoint_path(rng: random.Random) -> str:
    filler = rng.choice(("x", "é", "目", "😀"))
    too_long = filler * (MAX_PATH_BYTES // len(filler.encode())) + filler
    return rng.choice(
        (
            "",
            too_long,
            "x" * rng.randint(MAX_PATH_BYTES + 1, 4000),
            _spoiled(rng, savepoint_path(rng)[:200], CONTROLS),
        )
    )


def bad_workspace(rng: random.Random) -> str:
    return rng.choice(
        (
            "",
            "a" * rng.randint(129, 400),
            rng.choice("_.-") + workspace(rng)[:100],
            _spoiled(rng, workspace(rng)[:127], [*STRANGERS, "~"]),
        )
    )


def bad_segment(rng: random.Random) -> str:
    return rng.choice(
        (
            "",
            ".",
            "..",
            "...",
            "%2e%2e",
            "../..",
            "a" * rng.randint(129, 400),
            rng.choice("_.~-") + segment(rng)[:100],
            _spoiled(rng, segment(rng)[:127], STRANGERS),
        )
    )


def bad_filter(rng: random.Random) -> str:
    # Without one, everything is listed.
    return bad_segment(rng) or ".."


def bad_page_size(rng: random.Random) -> int:
    return rng.choice((-1, MAX_PAGE_SIZE + 1, 2**31 - 1, -(2**31), rng.randint(101, 2**31 - 1)))


def bad_page_token(rng: random.Random) -> str:
    of_another_list = bytes([1, 10, 0, 0, 0, 2, *rng.randbytes(16)]).hex()
    return rng.choice(("2", "next", " ", "0" * 44, of_another_list, of_another_list.upper()))


def bad_description(rng: random.Random) -> str:
    filler = rng.choice(("x", "é", "目", "😀"))
    return filler * rng.randint(MAX_PATH_BYTES // len(filler.encode()) + 1, MAX_PATH_BYTES + 1)


@dataclass(frozen=True)
class Invalid:
    """A request and the fields, all of them, that the gateway must name."""

    request: Asked
    fields: frozenset[str]


# How a field is made: right, and wrong.
FieldMaker = tuple[Callable[[random.Random], Any], Callable[[random.Random], Any]]

IMPORT_FIELDS: dict[str, FieldMaker] = {
    "project_id": (project_id, bad_project_id),
    "job_id": (job_id, bad_job_id),
    "savepoint_path": (savepoint_path, bad_savepoint_path),
}
GET_FIELDS: dict[str, FieldMaker] = {
    "workspace": (workspace, bad_workspace),
    "namespace": (segment, bad_segment),
    "savepoint_id": (segment, bad_segment),
}
LIST_FIELDS: dict[str, FieldMaker] = {
    "workspace": (workspace, bad_workspace),
    "namespace": (segment, bad_segment),
    "deployment_id": (filter_of, bad_filter),
    "job_id": (filter_of, bad_filter),
    "page_size": (page_size, bad_page_size),
    "page_token": (lambda _: "", bad_page_token),
}
CREATE_FIELDS: dict[str, FieldMaker] = {
    "workspace": (workspace, bad_workspace),
    "namespace": (segment, bad_segment),
    "deployment_id": (segment, bad_segment),
    "description": (description, bad_description),
    "native_format": (lambda rng: rng.choice((None, False, True)), lambda _: None),
}


# Every value of these is valid.
ALWAYS_VALID = frozenset({"native_format"})


def _invalid(
    rng: random.Random, count: int, kind: type[Asked], fields: dict[str, FieldMaker]
) -> list[Invalid]:
    made = []
    for number in range(count):
        # Every field is the only bad one now and then; otherwise any mix of them.
        names = [name for name in fields if name not in ALWAYS_VALID]
        bad = (
            {names[number % len(names)]}
            if number % 2
            else set(rng.sample(names, rng.randint(1, len(names))))
        )
        values = {name: makers[name in bad](rng) for name, makers in fields.items()}
        made.append(Invalid(kind(**values), frozenset(bad)))
    return made


def invalid_imports(rng: random.Random, count: int) -> list[Invalid]:
    return _invalid(rng, count, Import, IMPORT_FIELDS)


def invalid_gets(rng: random.Random, count: int) -> list[Invalid]:
    return _invalid(rng, count, Get, GET_FIELDS)


def invalid_lists(rng: random.Random, count: int) -> list[Invalid]:
    return _invalid(rng, count, List, LIST_FIELDS)


def invalid_creates(rng: random.Random, count: int) -> list[Invalid]:
    return _invalid(rng, count, Create, CREATE_FIELDS)


# --- What a caller might try to smuggle through ----------------------------------------

METADATA = (
    ("authorization", "Bearer EXAMPLE-of-the-caller"),
    ("cookie", "session=EXAMPLE"),
    ("forwarded", "for=192.0.2.1"),
    ("via", "1.1 example"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-host", "example.com"),
    ("x-real-ip", "192.0.2.1"),
    ("proxy-authorization", "Basic RVhBTVBMRQ=="),
    ("x-auth-token", "EXAMPLE"),
    ("x-project-id", "EXAMPLE"),
    ("x-sdk-date", "20000101T000000Z"),
    ("x-security-token", "EXAMPLE"),
    ("x-acs-security-token", "EXAMPLE"),
    ("x-acs-action", "DeleteSavepoint"),
    ("workspace", "EXAMPLE"),
    ("x-http-method-override", "DELETE"),
    ("accept", "text/html"),
    ("accept-language", "zh"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "example=1"),
    ("baggage", "user=EXAMPLE"),
    ("example-bin", b"\x00\xff"),
)


def metadata(rng: random.Random) -> list[tuple[str, str | bytes]]:
    return rng.sample(METADATA, rng.randint(0, 6))
