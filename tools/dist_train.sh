#!/usr/bin/env bash
# Train with several processes: on GPUs (nccl), or on the CPU where there are none (gloo).
#
#   bash tools/dist_train.sh CONFIG NUM_PROCS [options of tools/train.py]
#
# Several machines: run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment.
# PYTHON names the interpreter (default: python).

set -euo pipefail
source "$(dirname "$0")/_launch.sh"

need_arguments 2 "$@"
launch_torchrun "$2" "$TOOLS/train.py" "$1" "${@:3}"
