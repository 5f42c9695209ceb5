"""The gateway under test, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

START_SECONDS = 30
# Longer than the drain timeout that the gateway is started with.
STOP_SECONDS = 20


class DidNotStart(Exception):
    """The gateway ended, or said nothing, before it listened."""


@dataclass(frozen=True)
class Profile:
    """One set of credentials, and the defaults that the gateway is configured with."""

    name: str
    huawei_key_id: str
    huawei_secret: str
    alibaba_key_id: str
    alibaba_secret: str
    huawei_token: str | None = None
    alibaba_token: str | None = None
    project_id: str | None = None
    project_id_from_environment: bool = False
    workspace: str | None = None

    def secrets(self) -> list[str]:
        values = (self.huawei_secret, self.alibaba_secret, self.huawei_token, self.alibaba_token)
        return [value for value in values if value]


@dataclass
class Gateway:
    """Runs between __enter__ and __exit__, and keeps what it logged and how it ended."""

    binary: Path
    profile: Profile
    huawei_url: str
    alibaba_url: str
    proxy_trap_url: str
    address: str = ""
    log: list[str] = field(default_factory=list)
    exit_code: int | None = None

    def __enter__(self) -> Gateway:
        self._home = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [self.binary, *self._arguments()],
            env=self._environment(),
            cwd=self._home.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self._listening.wait(START_SECONDS)
        if not self.address:
            self._stop()
            raise DidNotStart("\n".join(self.log[-20:]) or "no output")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _arguments(self) -> list[str]:
        arguments = [
            "serve",
            *("--listen", "127.0.0.1:0"),
            *("--admin-listen", "127.0.0.1:0"),
            *("--huawei-endpoint", self.huawei_url),
            *("--alibaba-endpoint", self.alibaba_url),
            *("--drain-timeout", "5s"),
            *("--log-format", "json"),
            *("--log-level", "debug"),
        ]
        profile = self.profile
        if profile.project_id is not None and not profile.project_id_from_environment:
            arguments += ["--huawei-project-id", profile.project_id]
        if profile.workspace is not None:
            arguments += ["--alibaba-workspace", profile.workspace]
        return arguments

    def _environment(self) -> dict[str, str]:
        # Built from nothing: no credential or option of the caller's may decide a check.
        profile = self.profile
        values = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": self._home.name,
            "RUST_BACKTRACE": "1",
            # A gateway that took these up would send signed requests to a stranger.
            "HTTP_PROXY": self.proxy_trap_url,
            "http_proxy": self.proxy_trap_url,
            "HTTPS_PROXY": self.proxy_trap_url,
            "ALL_PROXY": self.proxy_trap_url,
            "HUAWEICLOUD_SDK_AK": profile.huawei_key_id,
            "HUAWEICLOUD_SDK_SK": profile.huawei_secret,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": profile.alibaba_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": profile.alibaba_secret,
        }
        if profile.huawei_token is not None:
            values["HUAWEICLOUD_SDK_SECURITY_TOKEN"] = profile.huawei_token
        if profile.alibaba_token is not None:
            values["ALIBABA_CLOUD_SECURITY_TOKEN"] = profile.alibaba_token
        if profile.project_id is not None and profile.project_id_from_environment:
            values["HUAWEICLOUD_SDK_PROJECT_ID"] = profile.project_id
        return values

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.log.append(line)
            if not self.address and '"listening"' in line:
                self.address = listen_address(line)
                if self.address:
                    self._listening.set()
        # The end of the log without an address is the end of the process.
        self._listening.set()

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.exit_code = self._process.returncode
        self._reader.join(STOP_SECONDS)
        self._home.cleanup()


def listen_address(line: str) -> str:
    """The address in a "listening" log line, whether its fields are nested or not."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(entry, dict):
        return ""
    fields = entry.get("fields", entry)
    if not isinstance(fields, dict) or fields.get("message") != "listening":
        return ""
    return str(fields.get("listen", ""))
