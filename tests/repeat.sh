#!/usr/bin/env bash
# Runs the whole test suite again and again, to find a test that depends on chance or on the
# machine's load: half of the rounds alone, the others beside a build that keeps the processors
# busy. Stops at the first failure.
#
#   tests/repeat.sh [rounds, 30 by default]
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-30}
folder=$(mktemp -d)
load=
stop() {
  [ -z "$load" ] || kill -- "-$load" 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT

cargo test --locked --no-run
for ((round = 1; round <= rounds; round++)); do
  if ((round == rounds / 2 + 1)); then
    # A group of its own, so that the compilers that it starts end with it.
    set -m
    (while :; do cargo build --locked --target-dir "$folder/build" && rm -rf "$folder/build"; done) \
      >"$folder/build.log" 2>&1 &
    set +m
    load=$!
  fi
  if ! cargo test --locked >"$folder/round.log" 2>&1; then
    cat "$folder/round.log"
    printf 'failed in round %s of %s%s\n' "$round" "$rounds" "${load:+, beside a build}"
    exit 1
  fi
  printf 'round %s of %s passed%s\n' "$round" "$rounds" "${load:+, beside a build}"
done
