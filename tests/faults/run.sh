#!/usr/bin/env bash
# Faults, and the soak, against the real binary on loopback.
#
#   tests/faults/run.sh [--quick] [--only NUMBER,...] [--write]
#   tests/faults/run.sh soak [--minutes 30] [--rate 200] [--write]
#
# SAVEPOINT_GATEWAY_BIN names a binary that is built already; without it a release build is
# made. --write puts the figures into docs/reliability.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

if ! command -v python3 >/dev/null; then
    echo "skipped: faults and soak need python3, which is not here"
    exit 0
fi

venv=target/venv-faults
packages=(grpcio==1.85.1 trustme==1.2.1 cryptography==50.0.2)
# Only what was installed to the end has its mark.
if [[ $(cat "$venv/packages" 2>/dev/null) != "${packages[*]}" ]]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    echo "${packages[*]}" >"$venv/packages"
fi

if [[ -z ${SAVEPOINT_GATEWAY_BIN:-} ]]; then
    cargo build --release --locked
    export SAVEPOINT_GATEWAY_BIN=$root/target/release/savepoint-gateway
fi

if [[ ${1:-} == soak ]]; then
    shift
    exec "$venv/bin/python" tests/faults/soak.py "$@"
fi
exec "$venv/bin/python" tests/faults/scenarios.py "$@"
