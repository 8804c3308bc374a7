#!/usr/bin/env bash
# Evaluate a checkpoint with several processes: on GPUs (nccl), or on the CPU where there are none (gloo).
#
#   bash tools/dist_test.sh CONFIG CHECKPOINT NUM_PROCS [options of tools/test.py]
#
# Several machines: run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment.
# PYTHON names the interpreter (default: python).

set -euo pipefail
source "$(dirname "$0")/_launch.sh"

need_arguments 3 "$@"
launch_torchrun "$3" "$TOOLS/test.py" "$1" "$2" "${@:4}"
