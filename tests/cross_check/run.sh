#!/usr/bin/env bash
# Checks the gateway against the vendors' own signers; see README.md beside this file.
# Arguments go to cross_check.py. Without --gateway and SAVEPOINT_GATEWAY_BIN it builds
# the gateway first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tools/venv.sh disable=SC1091
. "$root/tools/venv.sh"

skip() {
    echo "SKIPPED cross-check with the vendors' signers: $1"
    exit 0
}

! reason=$(python_missing) || skip "$reason"

gateway_given=${SAVEPOINT_GATEWAY_BIN:+yes}
for argument in "$@"; do
    case $argument in
    --gateway | --gateway=* | --help | -h) gateway_given=yes ;;
    esac
done
if [[ -z $gateway_given ]]; then
    command -v cargo >/dev/null || skip "no gateway was given and cargo is not installed"
    cargo build --locked --manifest-path "$root/Cargo.toml"
    export SAVEPOINT_GATEWAY_BIN=${CARGO_TARGET_DIR:-$root/target}/debug/savepoint-gateway
fi

# --no-deps: what the list does not pin must fail pip's check, not be resolved.
python=$(ensure_venv "$root/target/venv-cross-check" --no-deps \
    --requirement "$here/requirements.txt" --requirement "$root/tests/vectors/requirements.txt")

exec "$python" "$here/cross_check.py" "$@"
