# shellcheck shell=bash
# Virtual environments for the scripts that need packages.

# Prints what is missing for that; fails when nothing is missing.
python_missing() {
  command -v python3 >/dev/null || { echo "python3 is not installed" && return; }
  ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
    echo "needs Python 3.11 or later with its venv module"
}

# ensure_venv FOLDER ARGUMENT...: a virtual environment with what these arguments of pip install,
# made anew when one of them, or a file that it names, has changed. Prints its python.
ensure_venv() {
  local folder=$1 mark argument
  shift
  mark=$folder/.$({
    printf '%s\n' "$@"
    for argument in "$@"; do [ ! -f "$argument" ] || cat "$argument"; done
  } | sha256sum | cut -c 1-16)
  if [ ! -e "$mark" ]; then
    rm -rf "$folder"
    # A command substitution does not end at the first failure by itself.
    python3 -m venv "$folder" &&
      "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 &&
      "$folder/bin/pip" check >&2 && touch "$mark" || return 1
  fi
  echo "$folder/bin/python"
}
