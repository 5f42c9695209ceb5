"""The upstream: nginx with both REST calls in memory, plain, with TLS, and delayed."""

import copy
import json
import re
import socket
from pathlib import Path
from string import Template

from machine import BenchError, Process, run
from peers import HERE, Tools
from tools import web
from tools.process import free_port

CALLS = json.loads((HERE / "calls.json").read_text())
DELAYS_MS = (5, 200)
ANSWER_SIZES = (4096, 16384, 65536)


def _sized(number: int, size: int) -> dict:
    """GetSavepoint of a savepoint whose description fills the answer up to that size."""
    call = copy.deepcopy(CALLS["get"])
    savepoint_id = f"00000000-0000-4000-8000-{number:012}"
    call["request"]["savepoint_id"] = savepoint_id
    call["upstream"]["path"] = call["upstream"]["path"].rpartition("/")[0] + "/" + savepoint_id
    savepoint = call["upstream"]["body"]["data"]
    savepoint["description"] += "." * (size - len(compact(call["upstream"]["body"])))
    call["reply"] = {"gateway": call["reply"]["gateway"]}
    call["reply"]["gateway"]["savepoint"]["description"] = savepoint["description"]
    return call


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


SIZED = {f"get_{size}": _sized(number, size) for number, size in enumerate(ANSWER_SIZES, 1)}
EVERY_CALL = CALLS | SIZED


def _quoted(text: str) -> str:
    """A string for nginx, which would expand variables and reads a backslash as an escape."""
    if "$" in text:
        raise BenchError("nginx would read the $ in a body as a variable")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _answer(call: dict, indent: str) -> str:
    upstream = call["upstream"]
    lines = [f"add_header {name} {_quoted(value)};" for name, value in upstream["headers"].items()]
    lines.append(f"return 200 {_quoted(compact(upstream['body']))};")
    return "".join(f"{indent}{line}\n" for line in lines)


def _locations(folder: Path) -> str:
    text = ""
    for call in CALLS.values():
        text += f"        location = {call['upstream']['path']} {{\n{_answer(call, ' ' * 12)}        }}\n"
    for name, call in SIZED.items():
        # Longer than what nginx takes as a string of its configuration.
        body = folder / f"{name}.json"
        body.write_text(compact(call["upstream"]["body"]))
        text += f"        location = {call['upstream']['path']} {{\n            alias {body};\n        }}\n"
    return text


def _delayed_server(port: int, delay_ms: int) -> str:
    text = f"    server {{\n        listen 127.0.0.1:{port} backlog=4096;\n"
    for name, call in CALLS.items():
        text += f"        location = {call['upstream']['path']} {{\n"
        text += f"            echo_sleep {delay_ms / 1000};\n            echo_exec @{name};\n        }}\n"
        text += f"        location @{name} {{\n{_answer(call, ' ' * 12)}        }}\n"
    return text + "    }\n"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def make_certificates(tools: Tools, folder: Path) -> None:
    """A certificate authority of this run's own and a certificate for localhost."""
    (folder / "server.ext").write_text(
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
    )
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    authority = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign"
    for command in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=savepoint-gateway-bench {authority}",
        f"req {key} -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem",
    ):
        done = run([str(tools.openssl), *command.split()], timeout=30, folder=folder)
        if done.returncode != 0:
            raise BenchError(f"openssl failed: {done.stderr.strip()[-300:]}")


class Upstream(Process):
    def __init__(self, tools: Tools, folder: Path, cores: frozenset[int]):
        folder.mkdir(parents=True, exist_ok=True)
        make_certificates(tools, folder)
        self.ca = folder / "ca.pem"
        self.ports = {"plain": free_port(), "tls": free_port()} | {f"delay{delay}": free_port() for delay in DELAYS_MS}
        self.port = free_port()
        self._asked = 0
        self._watched = folder / "watched.json"
        self.show_state("STARTED")
        configuration = folder / "nginx.conf"
        configuration.write_text(
            Template((HERE / "nginx.conf").read_text()).substitute(
                folder=folder,
                load_echo=f"load_module {tools.echo_module};",
                plain_port=self.ports["plain"],
                tls_port=self.ports["tls"],
                listen_ipv6=f"listen [::1]:{self.ports['tls']} ssl backlog=4096;" if _has_ipv6() else "",
                status_port=self.port,
                calls=_locations(folder),
                delayed_servers="".join(_delayed_server(self.ports[f"delay{delay}"], delay) for delay in DELAYS_MS),
            )
        )
        super().__init__(
            "nginx",
            [str(tools.nginx), "-p", str(folder), "-c", str(configuration)],
            cores=cores,
            log=folder / "nginx.log",
        )

    def show_state(self, state: str) -> None:
        """Every savepoint of the watched namespace is in this state from now on."""
        body = copy.deepcopy(CALLS["get"]["upstream"]["body"])
        body["data"]["status"] = {"state": state, "failure": None}
        new = self._watched.with_suffix(".new")
        new.write_text(compact(body))
        new.replace(self._watched)

    def requests(self) -> int:
        """How many calls have arrived so far; asking is not counted."""
        _, text = web.get(f"127.0.0.1:{self.port}", "/requests")
        found = re.search(r"\n\s*\d+\s+\d+\s+(\d+)", text)
        if not found:
            raise BenchError(f"nginx does not count requests: {text!r}")
        self._asked += 1
        return int(found.group(1)) - self._asked
