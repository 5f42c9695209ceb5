#!/usr/bin/env bash
# Checks the gateway against the vendors' own signers; see README.md beside this file.
# Arguments go to cross_check.py. Without --gateway and SAVEPOINT_GATEWAY_BIN it builds
# the gateway first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/target/venv-cross-check

skip() {
    echo "SKIPPED cross-check with the vendors' signers: $1"
    exit 0
}

command -v python3 >/dev/null || skip "python3 is not installed"
python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    skip "needs Python 3.11 or later with its venv module"

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

# The stamp is a copy of what was installed, so that a changed pin rebuilds the venv.
pins=$(cat "$here/requirements.txt" "$root/tests/vectors/requirements.txt")
if [[ ! -f $venv/installed.txt || $pins != "$(cat "$venv/installed.txt")" ]]; then
    rm -rf "$venv"
    mkdir -p "$root/target"
    python3 -m venv "$venv"
    # --no-deps: what the list does not pin must fail the check below, not be resolved.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --requirement "$here/requirements.txt"
    "$venv/bin/python" -m pip check
    printf '%s\n' "$pins" >"$venv/installed.txt"
fi

exec "$venv/bin/python" "$here/cross_check.py" "$@"
