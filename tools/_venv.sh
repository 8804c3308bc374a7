# Sourced by quickstart.sh, run_tests.sh and test_openmmlab.sh: makes or reuses .venv, installs into it once.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}

stage() {
    echo "==> $*"
}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

make_venv() {
    local python=${PYTHON:-python3}
    if [[ ! -x $VENV/bin/python ]]; then
        is_new_enough "$python" || fail "$python is not Python 3.10 or newer (the package itself runs on 3.9, the OneDL
  stack requires 3.10): install one (apt-get install python3 python3-venv), or name it: PYTHON=/path/to/python bash $0"
        stage "making $VENV with $("$python" --version)"
        "$python" -m venv "$VENV" ||
            fail "\`$python -m venv\` failed (on Debian and Ubuntu: apt-get install python3-venv)"
    fi
    is_new_enough "$VENV/bin/python" ||
        fail "the Python of $VENV is broken or older than 3.10: remove that folder and start again"
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
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --progress-bar off -e "$ROOT[$1]" ||
        fail 'pip failed (its message is above); the same command continues'
    echo "$state" >"$stamp"
}

# use_venv EXTRAS
use_venv() {
    make_venv
    install_extras "$1"
    export PATH="$VENV/bin:$PATH" PYTHON="$VENV/bin/python"
}
