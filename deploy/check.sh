#!/usr/bin/env bash
# Validates everything in deploy/ and the pages that go with it, offline but for the tools that it
# installs into target/tools. Quiet when all is well.
#
#   deploy/check.sh
#
# SAVEPOINT_GATEWAY_BIN names a binary that is built already; without it a debug build is made.
# Needs python3 (3.11) and openssl. Without go or systemd-analyze, checks are left out, with a word; of
# the image only the context is checked here, and deploy/image/check.sh builds it.
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

step 'context of the image'
"$python" deploy/check/image.py || failed=$((failed + 1))

step 'systemd unit'
if have systemd-analyze; then
  unit=$work/savepoint-gateway.service
  mkdir "$unit.d"
  sed "s,^ExecStart=[^ ]*,ExecStart=$gateway," deploy/systemd/savepoint-gateway.service >"$unit"
  cp deploy/systemd/*.conf "$unit.d/"
  # It warns of what it does not know, and is content all the same.
  verify() { systemd-analyze verify --man=no "$1" 2>&1 | tee "$work/verify" && ! grep -q . "$work/verify"; }
  run 'the unit with its drop-ins' verify "$unit"
  # In tenths: 1.4 when this was set. Network and sockets are what is left.
  exposure() { systemd-analyze security --offline=true --no-pager --threshold=15 "$1"; }
  run 'the exposure of the unit' exposure "$unit"
  sed -i '/^ProtectSystem=\|^DynamicUser=\|^SystemCallFilter=/d' "$unit"
  refuse 'a unit with more rights' exposure "$unit"
  sed -i 's/^NoNewPrivileges/NoNewPrivilegs/' "$unit"
  refuse 'a unit with an unknown key' verify "$unit"
else
  skip 'the systemd unit: there is no systemd-analyze'
fi

step 'compose file'
if have go; then
  run 'docker-compose.yaml' env -C deploy/compose compose-load docker-compose.yaml
  sed 's/read_only: true/read_onyl: true/' deploy/compose/docker-compose.yaml >"$work/docker-compose.yaml"
  refuse 'a compose file with an unknown key' compose-load "$work/docker-compose.yaml"
else
  skip 'the compose file: there is no go to build its loader with'
fi
"$python" deploy/check/mounts.py || failed=$((failed + 1))

step 'recipe for the Flink Kubernetes operator'
if have go && have jq; then
  examples/install-tools grpcurl
  "$python" deploy/check/snapshot.py "$gateway" || failed=$((failed + 1))
else
  skip 'the recipe: it needs jq, and go to build grpcurl'
fi

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
