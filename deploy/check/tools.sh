# shellcheck shell=bash
# What the scripts of deploy/ need, installed into target/tools when it is missing.

root=${root:?the repository}
tools=$root/target/tools
mkdir -p "$tools/bin"
PATH=$tools/bin:$PATH

# shellcheck source=tools/venv.sh disable=SC1091
. "$root/tools/venv.sh"

have() { command -v "$1" >/dev/null 2>&1; }

# Debian's prometheus and promtool. Only the two programs are taken out of the package: installing
# it would start a service.
ensure_prometheus() {
  if have prometheus && have promtool; then return; fi
  if ! have apt-get; then
    echo "prometheus is missing, and there is no apt-get to fetch it with" >&2
    return 1
  fi
  local folder=$tools/prometheus try
  rm -rf "$folder" && mkdir -p "$folder"
  for try in 1 2 3; do
    if (cd "$folder" && apt-get download -qq prometheus) >"$folder/log" 2>&1; then break; fi
    # Without lists there is nothing to download from, and only root can fetch them.
    if [ "$try" = 3 ] || ! apt-get update -qq >>"$folder/log" 2>&1; then
      tail -n 3 "$folder/log" >&2
      echo "prometheus cannot be fetched from Debian" >&2
      return 1
    fi
  done
  dpkg-deb --extract "$folder"/prometheus_*.deb "$folder"
  ln -sf "$folder/usr/bin/prometheus" "$folder/usr/bin/promtool" "$tools/bin/"
}

# Prints the path of the program.
gateway_binary() {
  if [ -z "${SAVEPOINT_GATEWAY_BIN:-}" ]; then
    (cd "$root" && cargo build --locked --quiet)
    SAVEPOINT_GATEWAY_BIN=$root/target/debug/savepoint-gateway
  fi
  realpath "$SAVEPOINT_GATEWAY_BIN"
}
