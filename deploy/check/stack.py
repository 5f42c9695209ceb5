"""Gateways with simulators and traffic, and a Prometheus that scrapes them, all on loopback.

Two gateways: the demo, which is called at a steady rate, and one that serves TLS and has a
temporary credential, so that there is something to show of certificates and of credentials that
end. Standard library only.
"""

import contextlib
import datetime
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools import web
from tools.certificate import self_signed
from tools.gateway import Gateway, log_entry
from tools.process import Process, ProcessError, free_port

ALERTS = Path(__file__).resolve().parents[1] / "prometheus" / "alerts.yaml"
PATIENCE = 60.0


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


class Keys(web.Handler):
    """A credentials URI: temporary keys, good for nothing, for an hour. And the part of Huawei's IAM
    that knows projects."""

    def do_GET(self):
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        keys = {
            "Code": "Success", "AccessKeyId": "STS.EXAMPLE", "AccessKeySecret": "exampleSecret",
            "SecurityToken": "exampleToken", "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }  # fmt: skip
        projects = {"projects": [{"name": "cn-north-4", "id": "0605767b3300d5762fb7c0186d9e1779"}]}
        body = projects if self.path.startswith("/v3/projects?") else keys
        self.answer(json.dumps(body).encode(), "application/json")


class Stack(contextlib.ExitStack):
    """Everything runs inside of the `with`, and nothing is left of it afterwards."""

    def __init__(self, rate: int, scrape_interval: str):
        super().__init__()
        self._rate, self._interval = rate, scrape_interval

    def __enter__(self):
        super().__enter__()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="savepoint-gateway-"))
        self.callback(shutil.rmtree, folder, ignore_errors=True)
        keys = self.enter_context(web.Server(Keys))
        self_signed(folder)
        self.demo = self.enter_context(
            Gateway("demo", "--rate", str(self._rate), "--max-in-flight", "16", folder=folder)
        )
        self.secure = self.enter_context(
            Gateway(
                "serve",
                "--alibaba-endpoint", "http://127.0.0.1:9", "--alibaba-workspace", "example",
                "--alibaba-credentials", f"uri:{keys.url}/",
                "--huawei-region", "cn-north-4", "--tls-cert", "tls.crt", "--tls-key", "tls.key",
                "--upstream-client-cert", "tls.crt", "--upstream-client-key", "tls.key",
                environment={
                    # Nobody listens there; it is for the metrics of spans.
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
                    "HUAWEICLOUD_SDK_AK": "EXAMPLEAK", "HUAWEICLOUD_SDK_SK": "exampleSecret",
                    "HUAWEICLOUD_SDK_IAM_ENDPOINT": keys.url,
                },
                folder=folder,
            )
        )  # fmt: skip
        config = {
            "global": {"scrape_interval": self._interval, "evaluation_interval": self._interval},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {
                    "job_name": "savepoint-gateway",
                    "static_configs": [{"targets": [self.demo.admin, self.secure.admin]}],
                }
            ],
        }
        # JSON is YAML.
        (folder / "prometheus.yaml").write_text(json.dumps(config))
        self.prometheus_address = f"127.0.0.1:{free_port()}"
        self.prometheus = f"http://{self.prometheus_address}"
        prometheus = Process(
            "prometheus",
            ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/tsdb",
             f"--web.listen-address={self.prometheus_address}", "--log.level=warn"],
            environment=os.environ, folder=folder,
        )  # fmt: skip
        self.callback(prometheus.stop)
        prometheus.launch()
        for process, address, path in (
            (self.demo, self.demo.admin, "/readyz"),
            (self.secure, self.secure.admin, "/readyz"),
            (prometheus, self.prometheus_address, "/-/ready"),
        ):
            wait_until(lambda p=process, a=address, at=path: is_ready(p, a, at), f"{process.name} is ready")

    def log_lines(self) -> list[dict]:
        """What the demo has logged lately."""
        return [entry for line in list(self.demo.log) if (entry := log_entry(line))]


def is_ready(process: Process, address: str, path: str) -> bool:
    if not process.running:
        raise ProcessError(f"{process.name} ended: {process.last_words()}")
    return web.get(address, path)[0] == 200
