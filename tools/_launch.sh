# Sourced by dist_*.sh and slurm_*.sh: checks of their arguments, and how processes are started.

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHON=${PYTHON:-$(command -v python || echo python3)}

# need_arguments COUNT "$@": the usage, taken from the script's own header, unless there are COUNT arguments.
need_arguments() {
    local count=$1
    shift
    if (($# < count)) || [[ $1 == -h || $1 == --help ]]; then
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
        exit 2
    fi
}

has_gpu() {
    [[ ${CUDA_VISIBLE_DEVICES-unset} != -1 && -n ${CUDA_VISIBLE_DEVICES-unset} ]] &&
        nvidia-smi -L 2>/dev/null | grep -q '^GPU'
}

# keep_memory: glibc returns large blocks at once, and the page faults can double the time of CPU tensors.
keep_memory() {
    export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}
    export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-8589934592}
    export MALLOC_TOP_PAD_=${MALLOC_TOP_PAD_:-268435456}
}

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# launch_torchrun PROCS SCRIPT ARGS...: start SCRIPT on this node; exec, so that Ctrl-C reaches torchrun itself.
launch_torchrun() {
    local procs=$1 nnodes=${NNODES:-1} cores
    shift
    if [[ ! $procs =~ ^[1-9][0-9]*$ ]]; then
        echo "$(basename "$0"): NUM_PROCS must be a positive number, got '$procs'" >&2
        exit 2
    fi
    if ! has_gpu; then # as many threads for each process as there are cores for it
        cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
        export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > procs ? cores / procs : 1))}
        keep_memory
    fi
    [[ $nnodes != 1 ]] || PORT=${PORT:-$(free_port)}
    # The time that the processes have for their checkpoint when they are stopped.
    export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-50}
    exec "$PYTHON" "$TOOLS/_torchrun.py" --nnodes="$nnodes" --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" --nproc_per_node="$procs" \
        "$@" --launcher pytorch
}

# launch_srun PARTITION JOB_NAME SCRIPT ARGS...
launch_srun() {
    local partition=$1 job=$2
    shift 2
    local per_node=${GPUS_PER_NODE:-4} resources=()
    if [[ $per_node == 0 ]]; then
        resources=(--ntasks="${NUM_PROCS:-2}")
    else
        resources=(--gres=gpu:"$per_node" --ntasks="${GPUS:-4}" --ntasks-per-node="$per_node")
    fi
    # All tasks inherit the port; a random one keeps two jobs on one node apart.
    export MASTER_PORT=${MASTER_PORT:-${PORT:-$((20000 + RANDOM % 20000))}}
    # shellcheck disable=SC2206  # SRUN_ARGS holds several words
    local command=(srun --partition="$partition" --job-name="$job" "${resources[@]}"
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-}
        "$PYTHON" -u "$@" --launcher slurm)
    if [[ -z ${SLURM_JOB_ID:-} ]]; then
        exec "${command[@]}"
    fi
    trap : TERM USR1 # Slurm signals the shells of a batch job too: this one waits for srun
    "${command[@]}"
}

# requeue_job CODE: put the batch job back into the queue if CODE says that Slurm stopped it: 75 with a checkpoint
# written, 143 while it started, or where srun reports that it ended another process.
requeue_job() {
    local what
    [[ $1 == 75 || $1 == 143 ]] || return 0
    what="$(basename "$0"): job $SLURM_JOB_ID was stopped"
    if scontrol show job "$SLURM_JOB_ID" 2>/dev/null | grep -q 'JobState=CANCELLED'; then
        echo "$what because it was cancelled; the same command with --resume continues" >&2
    elif scontrol requeue "$SLURM_JOB_ID"; then
        echo "$what and waits in the queue again" >&2
    else
        echo "$what, but cannot be requeued; the same command with --resume continues" >&2
    fi
}
