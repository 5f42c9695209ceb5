#!/usr/bin/env bash
# Validates everything in deploy/ and the pages that go with it, offline but for the tools that it
# installs into target/tools. Quiet when all is well.
#
#   deploy/check.sh
#
# SAVEPOINT_GATEWAY_BIN names a binary that is built already; without it a debug build is made.
# Needs python3 (3.11) and openssl. Without go, two checks are left out, with a word; the image has
# a check of its own, deploy/image/check.sh.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/check/tools.sh disable=SC1091
. "$root/deploy/check/tools.sh"
cd "$root"
tools=$root/target/tools

compose_go=v2.16.2
prometheus_operator=v0.85.0
work=$(mktemp -d)
failed=0 skipped=0

cleanup() { rm -rf "$work"; }
trap cleanup EXIT

step() { printf '== %s (at %s s)\n' "$*" "$SECONDS"; }
skip() { skipped=$((skipped + 1)) && printf '  SKIPPED %s\n' "$*"; }

# run TEXT COMMAND...: shows what it says when it fails.
run() {
  if ! "${@:2}" >"$work/log" 2>&1; then
    failed=$((failed + 1))
    printf '  FAILED  %s\n' "$1"
    tail -n 20 "$work/log"
  fi
}
# refuse TEXT COMMAND...: the command must fail, or it proves nothing when it passes.
refuse() {
  if "${@:2}" >"$work/log" 2>&1; then
    failed=$((failed + 1))
    printf '  FAILED  %s was accepted\n' "$1"
  fi
}

step 'tools'
gateway=$(gateway_binary)
export SAVEPOINT_GATEWAY_BIN=$gateway
python=$(ensure_venv "$tools/deploy" --requirement deploy/check/requirements.txt)
crds=''
if have go; then
  # As data: the definitions of the Prometheus operator, out of its module.
  module=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "github.com/prometheus-operator/prometheus-operator@$prometheus_operator" |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
  crds=$module/example/prometheus-operator-crd
  if [ ! -e "$tools/.compose-$compose_go" ]; then
    # Called `cmd` by its authors.
    GOBIN=$work go install "github.com/compose-spec/compose-go/v2/cmd@$compose_go" 2>"$work/log" ||
      { tail -n 5 "$work/log" && exit 1; }
    install "$work/cmd" "$tools/bin/compose-load"
    rm -f "$tools"/.compose-* && touch "$tools/.compose-$compose_go"
  fi
fi

step 'manifests, chart and variables'
"$python" deploy/check/manifests.py "$gateway" "$crds" || failed=$((failed + 1))

step 'compose file'
if have go; then
  run 'docker-compose.yaml' env -C deploy/compose compose-load docker-compose.yaml
  sed 's/read_only: true/read_onyl: true/' deploy/compose/docker-compose.yaml >"$work/docker-compose.yaml"
  refuse 'a compose file with an unknown key' compose-load "$work/docker-compose.yaml"
else
  skip 'the compose file: there is no go to build its loader with'
fi
"$python" deploy/check/mounts.py || failed=$((failed + 1))

step 'Prometheus: configuration, rules, and tests of the rules'
if ensure_prometheus; then
  cp deploy/compose/prometheus.yaml deploy/prometheus/*.yaml "$work/"
  run 'prometheus.yaml' promtool check config "$work/prometheus.yaml"
  run 'alerts.yaml' promtool check rules deploy/prometheus/alerts.yaml
  run 'alerts-test.yaml' promtool test rules deploy/prometheus/alerts-test.yaml
  # With every bound moved far away, the tests of every alert must fail.
  sed -E 's/^(.*)([<>]) ([0-9.]+)/\1\2 99\3/; s/== 0/== 2/; s/absent\(\w+/&s/' \
    deploy/prometheus/alerts.yaml >"$work/alerts.yaml"
  refuse 'alerts.yaml with other bounds' promtool test rules "$work/alerts-test.yaml"
  while read -r alert; do
    grep -qE "alertname: $alert," "$work/log" || {
      failed=$((failed + 1))
      printf '  FAILED  the tests of %s do not see another bound\n' "$alert"
    }
  done < <(sed -n 's/^ *- alert: //p' deploy/prometheus/alerts.yaml)
  echo 'scrape_configs: [{job_names: a}]' >"$work/prometheus.yaml"
  refuse 'a configuration with an unknown key' promtool check config "$work/prometheus.yaml"

  step 'dashboard and alerts, by a Prometheus that scrapes gateways under traffic'
  "$python" deploy/check/live.py || failed=$((failed + 1))
else
  skip 'all that Prometheus must check'
fi

if [ "$failed" -gt 0 ]; then
  printf '== deploy: %s FAILED after %s s\n' "$failed" "$SECONDS"
  exit 1
fi
printf '== deploy: all passed, %s skipped, after %s s\n' "$skipped" "$SECONDS"
