#!/usr/bin/env bash
# Fuzzes what reads texts and bytes of strangers, guided by coverage.
#
#   fuzz/run.sh [--seconds 60] [--write] [TARGET...]
#
# Each target begins with the seeds in corpus/ and keeps what it finds in target/fuzz. As many run
# side by side as there are processors, each for so many seconds. An input that breaks a property
# is kept in fuzz/artifacts, and the run fails; so it does for a target that tried nothing new, saw
# no coverage or ended before its time. --write puts the figures into docs/reliability.md.
#
# Without the address sanitizer: unsafe code is forbidden here, and it would halve the speed.
set -euo pipefail

fuzz=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$fuzz/.." && pwd)
work=$root/target/fuzz

seconds=60 write='' targets=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --seconds) seconds=$2 && shift 2 ;;
    --write) write=yes && shift ;;
    -*) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 2 ;;
    *) targets+=("$1") && shift ;;
    esac
done
if [[ ! $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "fuzzing: --seconds $seconds is no time to run" >&2
    exit 2
fi
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

# Of the same directory as `cargo test`, so that the dependencies are there already.
RUSTC_WRAPPER=$fuzz/instrument CARGO_TARGET_DIR=$root/target \
    cargo build --locked --quiet --manifest-path "$fuzz/Cargo.toml" "${targets[@]/#/--bin=}"

# Runs one target, prints its one line, and fails unless it ran as it should without a finding.
run() {
    local target=$1 log=$work/$1.log code=0 seeds executed edges took trouble=''
    mkdir -p "$work/$target" "$fuzz/artifacts/$target"
    "$root/target/debug/$target" "$work/$target" "$fuzz/corpus/$target" \
        -dict="$fuzz/dictionary.txt" -artifact_prefix="$fuzz/artifacts/$target/" \
        -max_total_time="$seconds" -timeout=10 -print_final_stats=1 >"$log" 2>&1 || code=$?
    seeds=$(sed -n 's/^INFO: *\([0-9]*\) files found in .*/\1/p' "$log" | awk '{ all += $1 } END { print all + 0 }')
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(grep -o ' cov: [0-9]*' "$log" | tail -1 | tr -dc 0-9) || true
    took=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log")
    if [[ $code -ne 0 ]]; then
        trouble="exit code $code after ${executed:-no} executions"
    elif [[ ${executed:-0} -le $((seeds + 1)) ]]; then
        trouble="${executed:-0} executions, which are no more than its seeds"
    elif [[ ${edges:-0} -eq 0 ]]; then
        trouble='no coverage'
    elif [[ ${took:-0} -lt $seconds ]]; then
        trouble="ended after ${took:-0} of $seconds s"
    fi
    if [[ -n $trouble ]]; then
        tail -40 "$log"
        echo "$target: FAILED, $trouble, see $log"
        return 1
    fi
    echo "$target: $executed executions in $took s, $edges edges, no finding"
}

# Jobs with process groups of their own, so that none is left behind.
set -m
end() {
    local job
    for job in $(jobs -p); do
        kill -- "-$job" 2>/dev/null || true
    done
}
trap end EXIT
trap 'exit 130' INT TERM

mkdir -p "$work"
passed=$work/passed
: >"$passed"
for target in "${targets[@]}"; do
    while [[ $(jobs -rp | wc -l) -ge $(nproc) ]]; do
        wait -n || true
    done
    { run "$target" && echo "$target" >>"$passed"; } &
done
wait
failed=$((${#targets[@]} - $(wc -l <"$passed")))

if [[ -n $write ]]; then
    python3 "$fuzz/figures.py" "$work" "${targets[@]}"
fi
if [[ $failed -gt 0 ]]; then
    echo "fuzzing: $failed of ${#targets[@]} targets FAILED"
    exit 1
fi
echo "fuzzing: ${#targets[@]} targets, $seconds s each, no finding"
