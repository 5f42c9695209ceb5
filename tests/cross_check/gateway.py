"""The gateway under test, with one set of credentials."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import tools.gateway


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


class Gateway(tools.gateway.Gateway):
    """Runs between __enter__ and __exit__, and keeps all that it logged and how it ended."""

    def __init__(
        self, binary: Path, profile: Profile, huawei_url: str, alibaba_url: str, proxy_trap_url: str
    ) -> None:
        self.profile = profile
        self._home = tempfile.TemporaryDirectory()
        flags = [
            "--enable-job-control",
            *("--huawei-endpoint", huawei_url),
            *("--alibaba-endpoint", alibaba_url),
            *("--drain-timeout", "5s"),
            *("--log-level", "debug"),
        ]
        if profile.project_id is not None and not profile.project_id_from_environment:
            flags += ["--huawei-project-id", profile.project_id]
        if profile.workspace is not None:
            flags += ["--alibaba-workspace", profile.workspace]
        super().__init__(
            "serve",
            *flags,
            program=binary,
            environment=environment(profile, proxy_trap_url) | {"HOME": self._home.name},
            folder=Path(self._home.name),
            # No line may be left out of the search for secrets.
            kept_lines=None,
        )

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._home.cleanup()


def environment(profile: Profile, proxy_trap_url: str) -> dict[str, str]:
    values = {
        "RUST_BACKTRACE": "1",
        # A gateway that took these up would send signed requests to a stranger.
        "HTTP_PROXY": proxy_trap_url,
        "http_proxy": proxy_trap_url,
        "HTTPS_PROXY": proxy_trap_url,
        "ALL_PROXY": proxy_trap_url,
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
