#!/usr/bin/env bash
# Builds the Dockerfile for real and proves what it promises.
#
#   deploy/image/check.sh
#
# No image registry is asked. Both base images are made here, under the names that the Dockerfile
# uses: the build image from Debian packages and this machine's Rust toolchain, the runtime image
# from the files of the few Debian packages that distroless/cc consists of. So everything that the
# Dockerfile adds is the real thing; what a base brings (its part of the size, its lack of a
# shell) is proven of the stand-in, which holds less than the original does.
#
# The build has no network: its crates come from a folder that `cargo vendor` fills beforehand.
#
# IMAGE_CHECK_ISOLATION=container|chroot   settles what is otherwise found out; `chroot` is for
#                                          machines that cannot start a container, and says what
#                                          it leaves unproven
# DEBIAN_MIRROR=URL                        another mirror than mmdebstrap's own
#
# Base images and crates are kept in target/image-cache; everything else is removed at the end.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$repo/target/image-cache
program=/usr/local/bin/savepoint-gateway
image=localhost/savepoint-gateway:check
suite=bookworm
packages='base-files,ca-certificates,gcc,libc6,libc6-dev,libgcc-s1,make,netbase,tzdata'

# For the program, the CA roots and the licence: half as much again as they took when this was set.
added_limit=15000000

engine=() work='' runroot='' server='' passed=0 failed=0 skipped=0

say() { printf '%s\n' "$*"; }
pass() { passed=$((passed + 1)) && say "  ok       $*"; }
fail() { failed=$((failed + 1)) && say "  FAILED   $*"; }
skip() { skipped=$((skipped + 1)) && say "  SKIPPED  $*"; }
stage() { say "== $* (at $SECONDS s)"; }
die() { say "image check: $*" && exit 1; }
give_up() { say "SKIPPED the image check: $*" && exit 0; }

# check TEXT COMMAND...
check() { if "${@:2}"; then pass "$1"; else fail "$1"; fi; }
# same TEXT EXPECTED FOUND
same() { if [ "$2" = "$3" ]; then pass "$1: ${3:-none}"; else fail "$1: expected '${2:-none}', found '$3'"; fi; }

use_storage() {
  storage=$1
  engine=(podman --root "$work/storage" --runroot "$runroot" --storage-driver "$storage"
    --cgroup-manager cgroupfs --events-backend none)
  # Rather than crun, which refuses machines that mount both versions of cgroups.
  if command -v runc >/dev/null; then engine+=(--runtime runc); fi
}

cleanup() {
  local status=$?
  trap - EXIT
  if [ -n "$server" ]; then kill -KILL "$server" 2>/dev/null || true; fi
  if [ ${#engine[@]} -gt 0 ]; then
    "${engine[@]}" rm --all --force --time 0 >/dev/null 2>&1 || true
  fi
  # In a rootless store files belong to subordinate users.
  if ! rm -rf "$work" "$runroot" 2>/dev/null; then podman unshare rm -rf "$work" "$runroot"; fi
  exit "$status"
}

# --- tools ------------------------------------------------------------------------------------

install_tools() {
  local missing=() tool try
  for tool in podman mmdebstrap runc; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ "$(id -u)" = 0 ] || command -v newuidmap >/dev/null || missing+=(uidmap)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || give_up "it needs ${missing[*]}, and there is no apt-get here"
  [ "$(id -u)" = 0 ] || give_up "it needs ${missing[*]}, which only root can install"
  say "installing ${missing[*]}"
  for try in 1 2 3 4 5 6; do
    # apt does not wait for the lock of its lists as it does for dpkg's.
    if apt-get -qq update >"$work/apt.log" 2>&1 &&
      DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq install --yes \
        --no-install-recommends "${missing[@]}" >>"$work/apt.log" 2>&1; then
      return 0
    fi
    [ "$try" = 6 ] || sleep 10
  done
  tail -n 5 "$work/apt.log"
  give_up "${missing[*]} cannot be installed"
}

# --- base images ------------------------------------------------------------------------------

# The toolchain of the version that the Dockerfile names, whichever of the installed ones it is.
find_toolchain() {
  local wanted names=('') name found
  command -v rustc >/dev/null || give_up "there is no Rust toolchain here to put into the build image"
  wanted=$(sed -n 's/^ARG RUST_VERSION=//p' "$repo/Dockerfile")
  if command -v rustup >/dev/null; then
    mapfile -t -O 1 names < <(rustup toolchain list | awk '{ print "+" $1 }')
  fi
  rust_version='' sysroot=''
  for name in "${names[@]}"; do
    found=$(rustc ${name:+"$name"} --version | awk '{ print $2 }')
    if [[ $found == "$wanted" || $found == "$wanted".* ]]; then
      sysroot=$(rustc ${name:+"$name"} --print sysroot) rust_version=$wanted
      break
    fi
  done
  if [ -z "$sysroot" ]; then
    sysroot=$(rustc --print sysroot) rust_version=$(rustc --version | awk '{ print $2 }')
    say "NOTE: Rust $wanted is not installed; the image is built with $rust_version instead"
  fi
  if [ "$sysroot" = /usr ] || [ ! -x "$sysroot/bin/cargo" ] || [ ! -x "$sysroot/bin/rustc" ]; then
    give_up "the toolchain in $sysroot is not a folder of its own that could be copied"
  fi
}

make_build_base() {
  local key host
  key=$({ "$sysroot/bin/rustc" -vV && echo "$suite $packages"; } | sha256sum | cut -c 1-16)
  build_tar=$cache/build-$key.tar runtime_tar=$cache/runtime-$key.tar
  [ ! -e "$build_tar" ] || return 0
  rm -f "$cache"/build-*.tar "$cache"/runtime-*.tar
  mmdebstrap --quiet --variant=apt --include="$packages" "$suite" "$work/build.tar" \
    ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/mmdebstrap.log" 2>&1 || {
    tail -n 20 "$work/mmdebstrap.log"
    give_up "Debian $suite cannot be fetched"
  }
  # Laid out as in the official image, plus one file: Cargo's configuration, which sends it to
  # the vendored crates, so that the Dockerfile needs no word about them.
  mkdir -p "$work/cargo/usr/local/cargo/bin"
  ln -s ../../rustup/toolchain/bin/cargo ../../rustup/toolchain/bin/rustc "$work/cargo/usr/local/cargo/bin"
  cat >"$work/cargo/usr/local/cargo/config.toml" <<'END'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "/vendor"
END
  tar --append --file "$work/build.tar" --owner=0 --group=0 -C "$work/cargo" ./usr/local/cargo
  host=$("$sysroot/bin/rustc" -vV | sed -n 's/^host: //p')
  (
    cd "$sysroot"
    tar --append --file "$work/build.tar" --owner=0 --group=0 \
      --transform 's,^,./usr/local/rustup/toolchain/,' \
      bin/cargo bin/rustc lib/*.so* "lib/rustlib/$host"
  )
  mv "$work/build.tar" "$build_tar"
}

# Taken out of the tar of the build image, so that both are of one Debian. As in distroless, only
# the packages' files: no package manager, and nothing that needs a shell to run.
make_runtime_base() {
  local root=$work/runtime info=./var/lib/dpkg/info
  [ ! -e "$runtime_tar" ] || return 0
  mkdir -p "$root" "$work/home/home/nonroot"
  tar --extract --file "$build_tar" -C "$work" --wildcards "$info/*.list"
  # The lists name paths as they were before /lib became a link to /usr/lib.
  {
    (cd "$work/$info" && cat base-files.list ca-certificates.list libc6:*.list libgcc-s1:*.list netbase.list tzdata.list) |
      sed -E 's,^/(bin|lib|lib64|sbin)/,/usr/\1/,; s,^,.,'
    printf '%s\n' ./lib ./lib64 ./etc/ssl/certs/ca-certificates.crt
  } | grep -vE '^\./?\.?$|/s?bin/|/share/(doc|lintian|man)/|/update-motd\.d|^\./root' | sort -u >"$work/wanted"
  # Documentation that the base system leaves out is on the lists all the same.
  tar --list --file "$build_tar" | sed 's,/$,,' | sort -u >"$work/present"
  comm -12 "$work/wanted" "$work/present" >"$work/both"
  tar --extract --file "$build_tar" -C "$root" --no-recursion --files-from "$work/both"
  printf '%s:x:%s:%s:%s:%s:/sbin/nologin\n' root 0 0 root /root nobody 65534 65534 nobody /nonexistent \
    nonroot 65532 65532 nonroot /home/nonroot >"$root/etc/passwd"
  printf '%s:x:%s:\n' root 0 nobody 65534 nonroot 65532 >"$root/etc/group"
  tar --create --file "$work/runtime.tar" --owner=0 --group=0 -C "$root" .
  tar --append --file "$work/runtime.tar" --owner=65532 --group=65532 --mode=0700 \
    -C "$work/home" ./home/nonroot
  mv "$work/runtime.tar" "$runtime_tar"
}

import_runtime_base() {
  "${engine[@]}" import --change 'USER 65532' --change 'WORKDIR /home/nonroot' \
    --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    "$runtime_tar" "$runtime_name" >"$work/import.log" 2>&1
}

import_bases() {
  runtime_name=$(sed -n 's/^ARG RUNTIME_IMAGE=//p' "$repo/Dockerfile")
  build_name=docker.io/library/rust:$rust_version-$suite
  use_storage overlay
  if ! import_runtime_base; then
    tail -n 1 "$work/import.log"
    say "NOTE: no overlay file system here; vfs copies every layer, which takes time and space"
    rm -rf "$work/storage"
    use_storage vfs
    import_runtime_base || { cat "$work/import.log" && die "the runtime base cannot be imported"; }
  fi
  "${engine[@]}" import --change 'ENV CARGO_HOME=/usr/local/cargo' --change 'ENV RUSTUP_HOME=/usr/local/rustup' \
    --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    "$build_tar" "$build_name" >"$work/import.log" 2>&1 ||
    { cat "$work/import.log" && die "the build base cannot be imported"; }
}

# --- how the image runs -----------------------------------------------------------------------

# What a restricted pod gets: nowhere to write, no capability, no way to gain one.
confinement=(--network none --read-only --read-only-tmpfs=false --cap-drop all
  --security-opt no-new-privileges --log-driver k8s-file --ulimit nofile=1024:1024 --ulimit nproc=1024:1024
  # Run when the check says so; a timer of its own would need systemd.
  --health-interval disable)
credentials=(HUAWEICLOUD_SDK_AK=fake-access-key HUAWEICLOUD_SDK_SK=fake-secret-key
  ALIBABA_CLOUD_ACCESS_KEY_ID=fake-access-key ALIBABA_CLOUD_ACCESS_KEY_SECRET=fake-secret-key)
# Nothing answers there, and nothing has to: to start, the gateway needs no provider.
settings=(--huawei-endpoint http://127.0.0.1:9 --huawei-project-id fake-project
  --alibaba-endpoint http://127.0.0.1:9 --alibaba-workspace fake-workspace)

choose_isolation() {
  isolation=${IMAGE_CHECK_ISOLATION:-}
  if [ -z "$isolation" ]; then
    isolation=container
    if ! "${engine[@]}" run --rm "${confinement[@]}" "$build_name" /bin/true >"$work/probe.log" 2>&1; then
      tail -n 3 "$work/probe.log"
      isolation=chroot
    fi
  fi
  case $isolation in
    container) say "isolation: containers (storage: $storage)" ;;
    chroot)
      say "NOTE: without containers, the image is built in a chroot, and its program runs in a chroot"
      say "      as user 65532, in this machine's network and on a file system that root may write"
      [ "$(id -u)" = 0 ] || give_up "a chroot needs root"
      ;;
    *) die "IMAGE_CHECK_ISOLATION is 'container' or 'chroot', not '$isolation'" ;;
  esac
}

# command_for VARIABLE=VALUE... -- ARGUMENT...: sets `run` to what starts the program of the image.
command_for() {
  local variables=() variable
  while [ "$1" != -- ]; do variables+=("$1") && shift; done
  shift
  if [ "$isolation" = container ]; then
    run=("${engine[@]}" run --rm --name gateway "${confinement[@]}")
    for variable in "${variables[@]}"; do run+=(--env "$variable"); done
    run+=("$image" "$@")
  else
    mapfile -t run < <(config '{{range .Config.Env}}{{println .}}{{end}}' | grep .)
    # In the host's network the image's ports may be taken.
    run=(env -i "${run[@]}" SAVEPOINT_GATEWAY_LISTEN=127.0.0.1:0 SAVEPOINT_GATEWAY_ADMIN_LISTEN=127.0.0.1:0
      "${variables[@]}" chroot --userspec=65532:65532 --groups= "$work/root" "$program" "$@")
  fi
}

# Runs the program to its end; what it prints is in $work/once.log, its exit code in `code`.
once() {
  command_for "$@"
  code=0
  timeout 60 "${run[@]}" >"$work/once.log" 2>"$work/once.err" || code=$?
}

start() {
  local deadline=$((SECONDS + 60))
  command_for "${credentials[@]}" "$@" -- serve "${settings[@]}"
  : >"$work/serve.log"
  "${run[@]}" >>"$work/serve.log" 2>&1 &
  server=$!
  until grep -q '"message":"listening"' "$work/serve.log"; do
    if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
    sleep 0.1
  done
}

# Sends SIGTERM; `code` is the exit code, or says that there was none in time.
stop() {
  local deadline=$((SECONDS + 30))
  kill -TERM "$server"
  while kill -0 "$server" 2>/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ]; then code='none within 30 s' && return; fi
    sleep 0.1
  done
  code=0
  wait "$server" || code=$?
  server=''
}

# --- the build --------------------------------------------------------------------------------

vendor_crates() {
  local key
  key=$(sha256sum "$repo/Cargo.lock" | cut -d ' ' -f 1)
  if [ "$(cat "$cache/vendor.key" 2>/dev/null)" = "$key" ]; then return; fi
  rm -f "$cache/vendor.key"
  "$sysroot/bin/cargo" vendor --locked --versioned-dirs --manifest-path "$repo/Cargo.toml" "$cache/vendor" \
    >"$work/vendor.log" 2>&1 || { tail -n 20 "$work/vendor.log" && die "cargo vendor failed"; }
  echo "$key" >"$cache/vendor.key"
}

describe_sources() {
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$repo/Cargo.toml" | head -n 1)
  revision=$(git -C "$repo" rev-parse --verify --quiet HEAD 2>/dev/null) || revision=unknown
  created=$(date --utc +%Y-%m-%dT%H:%M:%SZ)
}

build() {
  local how=(--network none) limit
  [ "$isolation" = container ] || how=(--isolation chroot)
  # The engine would ask for more than a confined root may have.
  limit=$(ulimit -Hn)
  "${engine[@]}" build "${how[@]}" --ulimit "nofile=$limit:$limit" --format docker --layers --pull=never \
    --volume "$cache/vendor:/vendor:ro" --build-arg "RUST_VERSION=$rust_version" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" "$@"
}

# A copy, because the engine's own storage lies below the repository; with two strays in it.
copy_context() {
  context=$work/context
  mkdir "$context"
  tar --create --directory "$repo" --exclude target --exclude .git --exclude .cache --exclude node_modules . |
    tar --extract --directory "$context"
  echo fake >"$context/stray.key"
  mkdir "$context/target" && echo fake >"$context/target/stray"
}

check_build() {
  local begin=$SECONDS compiled
  if ! build --tag "$image" "$context" >"$work/build.log" 2>&1; then
    tail -n 60 "$work/build.log" | cut -c 1-300
    die "the build failed"
  fi
  pass "the image is built, in $((SECONDS - begin)) s"
  # After the layer of the dependencies comes one cargo step, for this package alone.
  compiled=$(awk '/STEP / { own = /RUN cargo build .*--bin / } own && $1 == "Compiling" { print $2 }' "$work/build.log")
  same "compiled in the layer of the sources" savepoint-gateway "$compiled"
}

check_context() {
  local known found
  build --target skeleton --tag localhost/skeleton:check "$context" >"$work/context.log" 2>&1
  known='^(Cargo\.(toml|lock)|LICENSE|build\.rs|\.cargo/(config\.toml)?|(proto|src)/.*|(tests|benches|examples)/([^/]*/)?([^/]*\.rs)?)$'
  found=$("${engine[@]}" export "$("${engine[@]}" create localhost/skeleton:check true)" |
    tar --list | sed -n 's,^\(\./\)\?context/\(..*\),\2,p')
  check "the build context has the sources" grep -qx src/main.rs <<<"$found"
  same "the build context has other files" '' "$(grep -vE "$known" <<<"$found" || true)"
}

# A second build, up to the dependencies, after a change in every source.
check_cache() {
  find "$context" -name '*.rs' -exec sed -i '$ a // changed' {} +
  if ! build --target dependencies "$context" >"$work/cache.log" 2>&1; then
    tail -n 20 "$work/cache.log"
    fail "changed sources can be built"
  elif grep -q Compiling "$work/cache.log"; then
    fail "changed sources leave the layer of the dependencies as it is"
  else
    pass "changed sources leave the layer of the dependencies as it is"
  fi
}

# --- what is in the image ---------------------------------------------------------------------

config() { "${engine[@]}" image inspect --format "$1" "$image"; }
manifest() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" "$repo/Cargo.toml" | head -n 1; }

check_config() {
  local row
  same "user" 65532:65532 "$(config '{{.Config.User}}')"
  same "entry point" "[$program]" "$(config '{{.Config.Entrypoint}}')"
  same "command" '[serve]' "$(config '{{.Config.Cmd}}')"
  same "ports" 'map[50051/tcp:{} 9464/tcp:{}]' "$(config '{{.Config.ExposedPorts}}')"
  same "health check" "[CMD $program healthcheck]" "$(config '{{.Config.Healthcheck.Test}}')"
  for row in "title=$(manifest name)" "description=$(manifest description)" "licenses=$(manifest license)" \
    "version=$version" "revision=$revision" "created=$created" "base.name=$runtime_name"; do
    same "label ${row%%=*}" "${row#*=}" "$(config "{{index .Config.Labels \"org.opencontainers.image.${row%%=*}\"}}")"
  done
}

check_files() {
  local tar=$work/image.tar list=$work/image.list size base roots
  "${engine[@]}" export --output "$tar" "$("${engine[@]}" create "$image")"
  # Columns: mode, owner, size, name.
  tar --list --verbose --numeric-owner --file "$tar" |
    sed -E 's,^([^ ]+) +([^ ]+) +([^ ]+) +[^ ]+ +[^ ]+ +(\./)?,\1 \2 \3 ,; s, -> .*,,' >"$list"

  same "the program's mode and owner" '-r-xr-xr-x 0/0' \
    "$(awk -v name="${program#/}" '$4 == name { print $1, $2 }' "$list")"
  same "programs in the image" "${program#/}" \
    "$(awk '$1 ~ /^[-h].*[xst]/ && $4 !~ /\.so(\.[0-9]+)*$/ { print $4 }' "$list")"
  same "shells" '' "$(grep -E '/((ba|da|a|z|k|mk|c|tc|fi)?sh|busybox|toybox)$' "$list" || true)"
  same "set-user-id files" '' "$(awk '$1 ~ /^[-h].*[sS]/ { print $4 }' "$list")"
  same "files that the gateway's user owns or may write" '' \
    "$(awk '$1 ~ /^[-h]/ && ($2 ~ /65532/ || substr($1, 9, 1) == "w") { print $4 }' "$list")"
  roots=$(tar --extract --to-stdout --file "$tar" etc/ssl/certs/ca-certificates.crt | grep -c 'BEGIN CERTIFICATE' || true)
  check "CA roots: $roots" test "$roots" -gt 50
  check "the licence is in the image" \
    cmp --silent "$repo/LICENSE" <(tar --extract --to-stdout --file "$tar" usr/share/doc/savepoint-gateway/LICENSE)

  size=$(config '{{.Size}}')
  base=$("${engine[@]}" image inspect --format '{{.Size}}' "$runtime_name")
  say "  size     image $size bytes: stand-in base $base, added $((size - base)), of which the program $(
    awk -v name="${program#/}" '$4 == name { print $3 }' "$list")"
  say "  sha256   $(tar --extract --to-stdout --file "$tar" "${program#/}" | sha256sum | cut -d ' ' -f 1) $program"
  check "the Dockerfile adds less than $added_limit bytes to its base" test "$((size - base))" -lt "$added_limit"
  if [ "$isolation" = chroot ]; then mkdir "$work/root" && tar --extract --file "$tar" -C "$work/root"; fi
}

# --- the image at work ------------------------------------------------------------------------

check_commands() {
  once -- --version
  same "--version" "0 savepoint-gateway $version" "$code $(cat "$work/once.log")"
  once -- healthcheck
  check "healthcheck without a server exits $code" test "$code" != 0 -a "$code" -lt 124
}

# What the kernel says of the process, in container mode only.
check_confinement() {
  local pid kind id status sockets
  pid=$("${engine[@]}" inspect --format '{{.State.Pid}}' gateway)
  # The kernel tells this side's number; in a rootless container the gateway sees another.
  for kind in uid gid; do
    id=$(awk -v key="${kind^}:" '$1 == key { print $2 }' "/proc/$pid/status")
    same "the process's $kind" 65532 "$(awk -v id="$id" '$2 <= id && id < $2 + $3 { print id - $2 + $1 }' "/proc/$pid/${kind}_map")"
  done
  status=$(awk '/^(CapEff|CapBnd|NoNewPrivs|Seccomp):/ { printf "%s%s ", $1, $2 }' "/proc/$pid/status")
  same "its privileges" 'CapEff:0000000000000000 CapBnd:0000000000000000 NoNewPrivs:1 Seccomp:2 ' "$status"
  same "its root file system" ro "$(awk '$5 == "/" { print substr($6, 1, 2) }' "/proc/$pid/mountinfo")"
  # 0A is LISTEN; ports in hexadecimal.
  sockets=$(awk '$4 == "0A" { print $2 }' "/proc/$pid/net/tcp" | sort | xargs)
  same "its sockets (0.0.0.0, ports 9464 and 50051)" '00000000:24F8 00000000:C383' "$sockets"
}

check_service() {
  local begin
  begin=$(date +%s%N)
  if ! start; then
    grep -v 'systemd connection' "$work/serve.log" | tail -n 20
    fail "serve starts"
    return
  fi
  pass "serve listens after $((($(date +%s%N) - begin) / 1000000)) ms, the start of the engine included"
  if [ "$isolation" = container ]; then
    check_confinement
    code=0
    timeout 60 "${engine[@]}" exec gateway "$program" healthcheck >"$work/once.log" 2>&1 || code=$?
    same "healthcheck in the same container" 0 "$code"
    code=0
    timeout 60 "${engine[@]}" healthcheck run gateway >"$work/once.log" 2>&1 || code=$?
    same "the image's HEALTHCHECK" 0 "$code"
  else
    skip "capabilities, read-only root file system, sockets, HEALTHCHECK: no containers"
    once SAVEPOINT_GATEWAY_LISTEN="$(grep -oE '"listen":"[^"]*"' "$work/serve.log" | cut -d '"' -f 4)" -- healthcheck
    same "healthcheck in the same root" 0 "$code"
  fi
  stop
  same "exit code after SIGTERM" 0 "$code"
}

check_moved_listeners() {
  if [ "$isolation" = chroot ]; then return; fi
  if ! start SAVEPOINT_GATEWAY_LISTEN=127.0.0.1:50052 SAVEPOINT_GATEWAY_ADMIN_LISTEN=127.0.0.1:9465; then
    grep -v 'systemd connection' "$work/serve.log" | tail -n 20
    fail "serve starts on other addresses"
    return
  fi
  code=0
  timeout 60 "${engine[@]}" healthcheck run gateway >"$work/once.log" 2>&1 || code=$?
  same "HEALTHCHECK follows other addresses" 0 "$code"
  stop
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
trap cleanup EXIT
# The leftovers of a run that was killed.
rm -rf "$cache"/run.* 2>/dev/null || true
work=$(mktemp -d "$cache/run.XXXXXX")
# The engine puts sockets there, whose paths must be short.
runroot=$(mktemp -d "${TMPDIR:-/tmp}/image.XXXXXX")

install_tools
stage "base images"
find_toolchain
make_build_base
make_runtime_base
import_bases
choose_isolation
stage "crates"
vendor_crates
describe_sources
stage "build"
copy_context
check_build
check_context
check_cache
stage "contents"
check_config
check_files
stage "at work"
check_commands
check_service
check_moved_listeners
stage "done"
say "image: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
