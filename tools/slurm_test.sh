#!/usr/bin/env bash
# Evaluate a checkpoint on a Slurm cluster.
#
#   [GPUS=8] [GPUS_PER_NODE=4] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
#
# GPUS_PER_NODE=0 asks for no GPUs and starts NUM_PROCS (2) processes on CPUs (gloo).
# Also read: CPUS_PER_TASK (5), SRUN_ARGS, MASTER_PORT (a random one), PYTHON (python).

set -euo pipefail
source "$(dirname "$0")/_launch.sh"

need_arguments 4 "$@"
launch_srun "$1" "$2" "$TOOLS/test.py" "${@:3}"
