#!/usr/bin/env bash
# Shows where the gateway's CPU time goes while it is under load: with perf where the
# machine allows it, otherwise with valgrind's callgrind.
#
#   bench/profile.sh [import|get]        the RPC to load it with, get unless said
#
# The profile stays in target/bench/profile, for perf report or callgrind_annotate.
set -euo pipefail

rpc=${1:-get}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out="$root/target/bench/profile"
mkdir -p "$out"

# The released binary has no symbols; this one differs from it in nothing else.
echo "building the gateway with symbols" >&2
(cd "$root" && CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=1 \
    CARGO_TARGET_DIR="$out/cargo" cargo build --release --locked --quiet)
binary="$out/cargo/release/savepoint-gateway"

exec python3 "$root/bench/profile_run.py" "$binary" "$rpc" "$out"
