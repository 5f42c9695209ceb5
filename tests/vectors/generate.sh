#!/usr/bin/env bash
# Regenerates the golden signing vectors with the vendors' own signers.
#   generate.sh           rewrites the vectors beside this file
#   generate.sh --check   generates into a temporary folder and fails on any difference
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/target/venv-vectors

case ${1-} in
'') mode='write' ;;
--check) mode='check' ;;
*)
    echo "usage: $(basename "$0") [--check]" >&2
    exit 2
    ;;
esac

if ! command -v python3 >/dev/null; then
    echo "SKIPPED signing vectors: python3 is not installed"
    exit 0
fi
if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "SKIPPED signing vectors: needs Python 3.11 or later with its venv module"
    exit 0
fi

# The stamp is a copy of what was installed, so that a changed pin rebuilds the venv.
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    rm -rf "$venv"
    mkdir -p "$root/target"
    python3 -m venv "$venv"
    # --no-deps: what the list does not pin must fail the check below, not be resolved.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --requirement "$here/requirements.txt"
    "$venv/bin/python" -m pip check
    cp "$here/requirements.txt" "$venv/installed.txt"
fi

if [[ $mode == write ]]; then
    "$venv/bin/python" "$here/generate.py"
    exit 0
fi

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$venv/bin/python" "$here/generate.py" --output "$fresh"
different=0
for scheme in "$fresh"/*/; do
    scheme=$(basename "$scheme")
    diff -r "$here/$scheme" "$fresh/$scheme" || different=1
done
if ((different)); then
    echo "the vectors differ from what the vendors' signers say; run tests/vectors/generate.sh" >&2
    exit 1
fi
echo "the vectors are what the vendors' signers say"
