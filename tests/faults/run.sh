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

# shellcheck source=tools/venv.sh disable=SC1091
. tools/venv.sh
if reason=$(python_missing); then
    echo "skipped: faults and soak: $reason"
    exit 0
fi
python=$(ensure_venv "$root/target/venv-faults" grpcio==1.85.1 trustme==1.2.1 cryptography==50.0.2)

if [[ -z ${SAVEPOINT_GATEWAY_BIN:-} ]]; then
    cargo build --release --locked
    export SAVEPOINT_GATEWAY_BIN=$root/target/release/savepoint-gateway
fi

if [[ ${1:-} == soak ]]; then
    shift
    exec "$python" tests/faults/soak.py "$@"
fi
exec "$python" tests/faults/scenarios.py "$@"
