# Sourced by quickstart and test: finds a Python that can do the work, and fills environments.
# shellcheck shell=bash

say() { printf '\n== %s\n' "$*" >&2; }
fail() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

# As root, the ordinary user that tests run as; boxes use others.
ORDINARY_UID=65534

as_ordinary_user() {
  # By way of env: what setpriv itself starts is still looked up with root's rights.
  setpriv --reuid="$ORDINARY_UID" --regid="$ORDINARY_UID" --clear-groups env "$@"
}

usable_python() {  # usable_python COMMAND: 3.11 or later, with venv and pip to put in it
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

show_pip() {  # show_pip PYTHON ARGUMENT...: install for a Python, saying which packages as they come
  "$1" -m pip install --disable-pip-version-check --progress-bar off "${@:2}" |
    sed -un 's/ (from .*//; /^ *\(Collecting\|Processing\|Building\|Installing\)/p' >&2
}

find_python() {  # find_python [everybody]: print the first usable Python; one that all users can run
  local candidate path
  for candidate in ${PYTHON:-} python3.14 python3.13 python3.12 python3.11 python3 \
    /usr/local/bin/python3 /usr/bin/python3; do
    path=$(command -v "$candidate") || continue
    usable_python "$path" || continue
    # A shim or a link may lead to a folder that others cannot enter: ask Python where it lives.
    path=$("$path" -c 'import sys; print(sys._base_executable or sys.executable)') || continue
    if [ "${1:-}" = everybody ] && ! as_ordinary_user "$path" -c '' >/dev/null 2>&1; then
      continue
    fi
    printf '%s\n' "$path"
    return 0
  done
  return 1
}
