#!/usr/bin/env bash
# Train on a Slurm cluster.
#
#   [GPUS=8] [GPUS_PER_NODE=4] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
#
# GPUS_PER_NODE=0 asks for no GPUs and starts NUM_PROCS (2) processes on CPUs (gloo).
# Also read: CPUS_PER_TASK (5), SRUN_ARGS, MASTER_PORT (a random one), PYTHON (python).
#
# Within a batch job (sbatch), a run that Slurm stops by SIGTERM or SIGUSR1 writes a checkpoint (there is none while it
# starts) and goes back into the queue; when the job starts again, it resumes. Before the time limit too:
# sbatch --requeue --signal=TERM@120 ...

set -euo pipefail
source "$(dirname "$0")/_launch.sh"

need_arguments 3 "$@"
options=("${@:3}")
# Slurm starts this batch job again, after requeue_job or by itself.
if [[ ${SLURM_RESTART_COUNT:-0} != 0 && " ${options[*]} " != *" --resume "* ]]; then
    options+=(--resume)
fi
code=0
launch_srun "$1" "$2" "$TOOLS/train.py" "${options[@]}" || code=$?
requeue_job "$code"
exit "$code"
