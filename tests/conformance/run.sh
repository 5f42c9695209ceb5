#!/usr/bin/env bash
# Public conformance suites against the gateway's server: the Connect conformance runner, h2spec
# and the gRPC interoperability tests; known.toml lists what they expect otherwise, and why.
#
#   tests/conformance/run.sh [--write]
#
# --write puts the figures into docs/reliability.md. The suites come from the Go module proxy in
# the versions of go.mod, and everything that is built goes below target/.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/target/conformance

skip() {
    echo "SKIPPED conformance suites: $1"
    exit 0
}

command -v go >/dev/null || skip "needs Go, which is not here"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    skip "needs Python 3.11 or later"
wanted=$(sed -n 's/^go //p' "$here/go.mod")
# Beyond what is installed, Go would look for a toolchain to download.
GOTOOLCHAIN=local go -C "$here" env GOVERSION >/dev/null 2>&1 || skip "needs Go $wanted"

mkdir -p "$out"
go -C "$here" build -o "$out/" ./descriptors ./interop \
    connectrpc.com/conformance/cmd/connectconformance github.com/summerwind/h2spec/cmd/h2spec
if [[ ! -f $out/cert.pem ]]; then
    # Go's own, so that no other tool is needed. Nobody checks it.
    (cd "$out" && go run "$(go env GOROOT)/src/crypto/tls/generate_cert.go" --host 127.0.0.1 \
        --ecdsa-curve P256 2>/dev/null)
fi

# The descriptors keep their time as long as they are the same, so that nothing is built again.
"$out/descriptors" >"$out/interop.bin.new"
cmp -s "$out/interop.bin.new" "$out/interop.bin" || cp "$out/interop.bin.new" "$out/interop.bin"
INTEROP_DESCRIPTORS=$out/interop.bin
CONFORMANCE_PROTO=$(go -C "$here" list -m -f '{{.Dir}}' connectrpc.com/conformance)/proto
export INTEROP_DESCRIPTORS CONFORMANCE_PROTO
# In the versions of its Cargo.lock, which are those that the gateway is built with.
CARGO_TARGET_DIR=$root/target cargo build --quiet --locked --offline --manifest-path "$here/server/Cargo.toml" ||
    CARGO_TARGET_DIR=$root/target cargo build --quiet --locked --manifest-path "$here/server/Cargo.toml"
cp "$root/target/debug/conformance-server" "$out/"

exec python3 "$here/suites.py" "$@"
