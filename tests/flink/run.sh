#!/usr/bin/env bash
# The gateway in front of a real Apache Flink: builds a cluster in one process, and a job for it, from
# Maven artifacts, and drives savepoints, stops, resumes and everything that can go wrong with them
# through the gateway, for each version of Flink.
#
#   tests/flink/run.sh [--only NUMBER,...] [--write]
#
# Needs Java 17, Maven and Python 3.11. SAVEPOINT_GATEWAY_BIN names a binary that is built already;
# without it a debug build is made. --write puts the results into docs/reliability.md.
set -euo pipefail

# The newest release of both major versions.
versions=(2.3.0 1.20.5)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tools/venv.sh disable=SC1091
. "$root/tools/venv.sh"

skip() {
    echo "SKIPPED: a real Flink: $1"
    exit 0
}

! reason=$(python_missing) || skip "$reason"
for program in mvn javac java; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
java=$(java -XshowSettings:properties -version 2>&1 | sed -nE 's/ +java\.specification\.version = (.*)/\1/p')
[[ ${java%%.*} -ge 17 ]] || skip "needs Java 17, and this is ${java:-another one}"

if [[ -z ${SAVEPOINT_GATEWAY_BIN:-} ]]; then
    cargo build --locked --manifest-path "$root/Cargo.toml"
    export SAVEPOINT_GATEWAY_BIN=${CARGO_TARGET_DIR:-$root/target}/debug/savepoint-gateway
fi

built=$root/target/flink
for version in "${versions[@]}"; do
    mkdir -p "$built/$version"
    if ! mvn --batch-mode --no-transfer-progress --file "$here/pom.xml" "-Dflink.version=$version" package \
        >"$built/$version/build.log" 2>&1; then
        tail -n 40 "$built/$version/build.log"
        echo "FAILED: Flink $version cannot be built"
        exit 1
    fi
done

python=$(ensure_venv "$root/target/venv-flink" --requirement "$here/requirements.txt")
stubs=$built/stubs
rm -rf "$stubs" && mkdir -p "$stubs"
(cd "$root/proto" && find savepoint -name '*.proto' -print0 | xargs -0 "$python" -m grpc_tools.protoc \
    --proto_path=. --proto_path=third_party --python_out="$stubs" --grpc_python_out="$stubs")

PYTHONPATH=$stubs exec "$python" "$here/run.py" "$@" "${versions[@]}"
