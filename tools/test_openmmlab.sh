#!/usr/bin/env bash
# Run the tests on OpenMMLab's own packages instead of OneDL's, in an environment of their own.
#
#   bash tools/test_openmmlab.sh [options of pytest]
#
# VENV names the environment (default: .venv-openmmlab). mmcv has no wheel, and mmseg imports its C++ operators: they
# are built once, which takes 15 to 30 minutes on two cores; MAX_JOBS limits the processes.

set -euo pipefail
VENV=${VENV:-$(cd "$(dirname "$0")/.." && pwd)/.venv-openmmlab}
source "$(dirname "$0")/_venv.sh"
source "$ROOT/tools/_launch.sh"
cd "$ROOT"
make_venv
pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
if ! "$VENV/bin/python" -c 'import mmcv.ops' 2>/dev/null; then
    stage 'torch, and what builds mmcv'
    "${pip[@]}" torch torchvision 'setuptools<81' wheel ninja
    stage 'mmcv with its operators'
    # mmcv asks for C++17, the headers of PyTorch 2.14 require C++20.
    printf '#!/bin/sh\nexec g++ "$@" -std=c++20\n' >"$VENV/bin/c++20"
    chmod +x "$VENV/bin/c++20"
    CXX=$VENV/bin/c++20 MMCV_WITH_OPS=1 "${pip[@]}" --no-build-isolation --no-binary mmcv "mmcv>=2.1,<2.2"
fi
use_venv openmmlab,test
keep_memory
[[ " $* " == *" -m"* ]] || set -- -m 'not slow and not browser' "$@"
python -m pytest -n auto --dist loadfile "$@"
