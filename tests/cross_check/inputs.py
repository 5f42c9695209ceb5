"""Random requests, valid and invalid, all of them from one seed."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ALPHANUMERIC = string.digits + string.ascii_letters
PROJECT = ALPHANUMERIC + "_-"
WORKSPACE = ALPHANUMERIC + "_.-"
SEGMENT = ALPHANUMERIC + "_.~-"

MAX_JOB_ID = 2**63 - 1
MAX_PATH_BYTES = 1024

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
class Import:
    project_id: str
    job_id: int
    savepoint_path: str


@dataclass(frozen=True)
class Get:
    workspace: str
    namespace: str
    savepoint_id: str


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


@dataclass(frozen=True)
class Invalid:
    """A request and the fields, all of them, that the gateway must name."""

    request: Import | Get
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


def _invalid(
    rng: random.Random, count: int, kind: type[Import] | type[Get], fields: dict[str, FieldMaker]
) -> list[Invalid]:
    made = []
    for number in range(count):
        # Every field is the only bad one now and then; otherwise any mix of them.
        names = list(fields)
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
