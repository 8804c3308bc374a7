# Sourced by quickstart.sh and run_tests.sh: makes or reuses .venv, installs into it once, and activates it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
VERSION_CHECK='import sys; sys.exit(sys.version_info < (3, 10))'

stage() {
    echo "==> $*"
}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.12 python3.11 python3.13 python3.10 python; do
        if "$candidate" -c "$VERSION_CHECK" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail 'no Python 3.10 or newer found (the package itself runs on 3.9, the OneDL stack needs 3.10): install
  one, for example with `apt-get install python3 python3-venv`, or name it: PYTHON=/path/to/python bash' "$0"
}

make_venv() {
    if [[ -x $VENV/bin/python ]]; then
        "$VENV/bin/python" -c "$VERSION_CHECK" 2>/dev/null ||
            fail "the Python of $VENV is broken or older than 3.10: remove that folder and start again"
        return
    fi
    local python
    python=$(find_python) || exit 1
    stage "making $VENV with $("$python" --version)"
    "$python" -m venv "$VENV" ||
        fail "\`$python -m venv\` failed (on Debian and Ubuntu: apt-get install python3-venv)"
}

# install_extras EXTRAS: an editable install, skipped where the same setup.py was installed already.
install_extras() {
    local stamp="$VENV/.afa-mmseg-$1" state
    state="$ROOT $(cat "$ROOT/setup.py" "$ROOT/afa_mmseg/version.py" | cksum)"
    if [[ -f $stamp && $(<"$stamp") == "$state" ]]; then
        stage "reusing $VENV"
        return
    fi
    stage "installing afa-mmseg[$1] into $VENV (the first time: some minutes and 6 GB)"
    local quiet=(--quiet --disable-pip-version-check)
    [[ ${CI:-} == true || ! -t 1 ]] && quiet+=(--progress-bar off)
    "$VENV/bin/python" -m pip install "${quiet[@]}" -e "$ROOT[$1]" ||
        fail 'pip failed (its message is above); run this script again to go on'
    echo "$state" >"$stamp"
}

# use_venv EXTRAS
use_venv() {
    make_venv
    install_extras "$1"
    export PATH="$VENV/bin:$PATH" PYTHON="$VENV/bin/python"
}
