#!/usr/bin/env bash
# Fuzzes what reads texts and bytes of strangers, guided by coverage.
#
#   fuzz/run.sh [--seconds 60] [--write] [TARGET...]
#
# Each target begins with the seeds in corpus/ and keeps what it finds in target/fuzz. An input
# that breaks a property is kept in fuzz/artifacts, and the run fails. --write puts the figures
# into docs/reliability.md.
#
# The coverage flags of the compiler are unstable, so a stable toolchain is told to take them.
# Without the address sanitizer: unsafe code is forbidden here, and it would halve the speed.
set -euo pipefail

fuzz=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$fuzz/.." && pwd)
tools=$root/target/tools
work=$root/target/fuzz
version=0.13.2

seconds=60 write='' targets=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --seconds) seconds=$2 && shift 2 ;;
    --write) write=yes && shift ;;
    -*) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 2 ;;
    *) targets+=("$1") && shift ;;
    esac
done
if [[ ${#targets[@]} -eq 0 ]]; then
    mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' "$fuzz/Cargo.toml" | grep -v -- -fuzz)
fi

if [[ $(uname -s) != Linux ]]; then
    echo "SKIPPED fuzzing: tried on Linux only, and this is $(uname -s)"
    exit 0
fi
if ! command -v c++ >/dev/null; then
    echo 'SKIPPED fuzzing: libFuzzer needs a C++ compiler, which is not here'
    exit 0
fi

if [[ $("$tools/bin/cargo-fuzz" --version 2>/dev/null) != "cargo-fuzz $version" ]]; then
    # Unoptimised: it only starts other programs.
    cargo install --debug --locked --version "$version" --root "$tools" cargo-fuzz
fi
# Not exported: what cargo-fuzz builds for the host is then the same as without it.
(cd "$root" && RUSTC_BOOTSTRAP=1 PATH="$tools/bin:$PATH" \
    cargo fuzz build --sanitizer none --target-dir "$root/target")
host=$(rustc -vV | sed -n 's/^host: //p')

failed=()
for target in "${targets[@]}"; do
    mkdir -p "$work/$target" "$fuzz/artifacts/$target"
    log=$work/$target.log
    if "$root/target/$host/release/$target" "$work/$target" "$fuzz/corpus/$target" \
        -dict="$fuzz/dictionary.txt" -artifact_prefix="$fuzz/artifacts/$target/" \
        -max_total_time="$seconds" -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
        echo "$target: $executed executions, $coverage, no finding"
    else
        failed+=("$target")
        tail -40 "$log"
        echo "$target: FAILED, see $log"
    fi
done

if [[ -n $write ]]; then
    python3 "$fuzz/figures.py" "$work" "${targets[@]}"
fi
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "fuzzing: ${#failed[@]} of ${#targets[@]} targets found something: ${failed[*]}"
    exit 1
fi
echo "fuzzing: ${#targets[@]} targets, ${seconds} s each, no finding"
