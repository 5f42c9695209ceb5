"""Gateways with simulators and traffic, and a Prometheus that scrapes them, all on loopback.

Two gateways: the demo, which is called at a steady rate, and one that serves TLS and has a
temporary credential, so that there is something to show of certificates and of credentials that
end. Standard library only.
"""

import contextlib
import datetime
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ALERTS = Path(__file__).resolve().parents[1] / "prometheus" / "alerts.yaml"
PATIENCE = 60.0


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def wait_until(holds, what: str, patience: float = PATIENCE):
    """The first answer of `holds` that is true."""
    until = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError):
            if found := holds():
                return found
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {patience:.0f} s")
        time.sleep(0.1)


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


class Keys(http.server.BaseHTTPRequestHandler):
    """A credentials URI: temporary keys, good for nothing, for an hour. And the part of Huawei's IAM
    that knows projects."""

    def do_GET(self):
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        keys = {
            "Code": "Success", "AccessKeyId": "STS.EXAMPLE", "AccessKeySecret": "exampleSecret",
            "SecurityToken": "exampleToken", "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }  # fmt: skip
        projects = {"projects": [{"name": "cn-north-4", "id": "0605767b3300d5762fb7c0186d9e1779"}]}
        body = json.dumps(projects if self.path.startswith("/v3/projects?") else keys).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Stack(contextlib.ExitStack):
    """Everything runs inside of the `with`, and nothing is left of it afterwards."""

    def __init__(self, gateway: str, rate: int, scrape_interval: str):
        super().__init__()
        self._gateway, self._rate, self._interval = str(Path(gateway).resolve()), rate, scrape_interval

    def __enter__(self):
        super().__enter__()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _run(self, name: str, *command: str, **variables: str) -> subprocess.Popen:
        log = self.enter_context(open(self.folder / f"{name}.log", "wb"))
        # A group of its own: Ctrl-C in a terminal must reach this process first, which ends them
        # in order.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=self.folder, process_group=0,
            env={k: v for k, v in os.environ.items() if not k.startswith(("SAVEPOINT_GATEWAY_", "OTEL_"))} | variables,
        )  # fmt: skip
        self.callback(self._end, process)
        self._processes[name] = process
        return process

    @staticmethod
    def _end(process: subprocess.Popen) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _ready(self, name: str, url: str) -> None:
        def ready():
            if self._processes[name].poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}")
            return read(url)

        wait_until(ready, f"{name} is ready")

    def _start(self) -> None:
        self._processes = {}
        self.folder = Path(tempfile.mkdtemp(prefix="savepoint-gateway-"))
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        keys = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        threading.Thread(target=keys.serve_forever, daemon=True).start()
        self.callback(keys.server_close)
        self.callback(keys.shutdown)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", self.folder / "tls.key", "-out", self.folder / "tls.crt"],
            check=True, capture_output=True,
        )  # fmt: skip

        self.grpc, self.admin, self.secure = free_address(), free_address(), free_address()
        self._run(
            "demo", self._gateway, "demo", "--rate", str(self._rate), "--max-in-flight", "16",
            "--listen", self.grpc, "--admin-listen", self.admin, "--log-format", "json",
        )  # fmt: skip
        self._run(
            "secure", self._gateway, "serve", "--listen", "127.0.0.1:0", "--admin-listen", self.secure,
            "--alibaba-endpoint", "http://127.0.0.1:9", "--alibaba-workspace", "example",
            "--alibaba-credentials", f"uri:http://127.0.0.1:{keys.server_address[1]}/",
            "--huawei-region", "cn-north-4", "--tls-cert", "tls.crt", "--tls-key", "tls.key",
            "--upstream-client-cert", "tls.crt", "--upstream-client-key", "tls.key",
            # Nobody listens there; it is for the metrics of spans.
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
            HUAWEICLOUD_SDK_AK="EXAMPLEAK", HUAWEICLOUD_SDK_SK="exampleSecret",
            HUAWEICLOUD_SDK_IAM_ENDPOINT=f"http://127.0.0.1:{keys.server_address[1]}",
        )  # fmt: skip
        config = {
            "global": {"scrape_interval": self._interval, "evaluation_interval": self._interval},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {"job_name": "savepoint-gateway", "static_configs": [{"targets": [self.admin, self.secure]}]}
            ],
        }
        # JSON is YAML.
        (self.folder / "prometheus.yaml").write_text(json.dumps(config))
        address = free_address()
        self.prometheus = f"http://{address}"
        self._run(
            "prometheus", "prometheus", f"--config.file={self.folder}/prometheus.yaml",
            f"--storage.tsdb.path={self.folder}/tsdb", f"--web.listen-address={address}", "--log.level=warn",
        )  # fmt: skip
        self._ready("demo", f"http://{self.admin}/readyz")
        self._ready("secure", f"http://{self.secure}/readyz")
        self._ready("prometheus", f"{self.prometheus}/-/ready")

    def log_lines(self) -> list[dict]:
        """What the demo has logged. Its report to people is in the same file."""
        lines = (self.folder / "demo.log").read_text(errors="replace").splitlines()[:-1]
        return [json.loads(line) for line in lines if line.startswith('{"')]
