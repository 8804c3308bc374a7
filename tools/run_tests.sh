#!/usr/bin/env bash
# Install into .venv, check the code, run the tests; exit non-zero if anything failed.
#
#   bash tools/run_tests.sh [options of pytest]
#
# Tests marked slow run in CI only (CI=true), or when asked for: bash tools/run_tests.sh -m slow
# Tests marked browser need Chromium, which CI installs if it can.

set -uo pipefail
source "$(dirname "$0")/_venv.sh"
source "$ROOT/tools/_launch.sh"
cd "$ROOT"
use_venv onedl,test || exit 1
keep_memory

results=() failed=0

# check NAME COMMAND...: run it, remember how it ended.
check() {
    local name=$1
    shift
    stage "$name"
    if "$@"; then
        results+=(" $name ok")
    else
        results+=(" $name FAILED")
        failed=1
    fi
}

join() {
    local IFS=,
    echo "${results[*]}"
}

has_chromium() {
    command -v chromium chromium-browser google-chrome >/dev/null
}

selection=true
if [[ ${CI:-} == true ]]; then
    export PYTHONUNBUFFERED=1 NO_COLOR=1
    has_chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 || true
else
    selection='not slow'
fi
if ! has_chromium; then
    echo 'no Chromium: tests marked browser are left out (apt-get install chromium)'
    selection+=' and not browser'
fi
[[ " $* " == *" -m"* || $selection == true ]] || set -- -m "${selection#true and }" "$@"

check ruff ruff check .
check format ruff format --check .
check codespell codespell
check mypy mypy
check docs env NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir "$(mktemp -d)"
echo "so far:$(join)"
# One process for each core; a file's tests stay together, since they share what they train.
[[ " $* " == *" -n"* ]] || set -- -n auto --dist loadfile "$@"
check pytest python -m pytest "$@"

[[ $failed == 0 ]] || echo "run_tests.sh:$(join)" >&2
exit "$failed"
