#!/usr/bin/env bash
# Regenerates the golden signing vectors with the vendors' own signers.
#   generate.sh           rewrites the vectors beside this file
#   generate.sh --check   generates into a temporary folder and fails on any difference
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tools/venv.sh disable=SC1091
. "$root/tools/venv.sh"

case ${1-} in
'') mode='write' ;;
--check) mode='check' ;;
*)
    echo "usage: $(basename "$0") [--check]" >&2
    exit 2
    ;;
esac

if reason=$(python_missing); then
    echo "SKIPPED signing vectors: $reason"
    exit 0
fi
# --no-deps: what the list does not pin must fail pip's check, not be resolved.
python=$(ensure_venv "$root/target/venv-vectors" --no-deps --requirement "$here/requirements.txt")

if [[ $mode == write ]]; then
    "$python" "$here/generate.py"
    exit 0
fi

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$python" "$here/generate.py" --output "$fresh"
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
