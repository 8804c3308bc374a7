#!/usr/bin/env bash
# From a fresh clone to a segmentation model learned from image-level labels, on a generated data set.
#
#   bash tools/quickstart.sh
#
# Installs into .venv, generates ShapesVOC, trains AFA and, for comparison, the same network on full masks,
# with as many processes as there are GPUs (2 on a CPU machine), and draws a report into work_dirs/quickstart.

set -euo pipefail
source "$(dirname "$0")/_venv.sh"
cd "$ROOT"

DATA=data/ShapesVOC
AFA=afa_mit-tiny_shapes
SUPERVISED=segformer_mit-tiny_shapes
timings=()

# timed NAME COMMAND...
timed() {
    local name=$1 start=$SECONDS
    shift
    stage "$name"
    "$@" || fail "$name failed: the reason is above"
    timings+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
}

train() {
    bash tools/dist_train.sh "configs/afa/$1.py" "$processes" --work-dir "work_dirs/$1"
}

timed 'environment' use_venv onedl,tensorboard
processes=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count() or 2)')
timed "data set: $DATA" "$PYTHON" tools/dataset_converters/make_shapes_voc.py "$DATA"
timed "AFA from image-level labels, $processes processes" train "$AFA"
timed "the same network from full masks, $processes processes" train "$SUPERVISED"
timed 'report' "$PYTHON" tools/quickstart_report.py \
    --afa "work_dirs/$AFA" --supervised "work_dirs/$SUPERVISED" --out work_dirs/quickstart

stage 'done'
printf '    %s\n' "${timings[@]}"
echo "Images and table: $ROOT/work_dirs/quickstart"
echo "Logs and checkpoints: $ROOT/work_dirs/$AFA and $ROOT/work_dirs/$SUPERVISED"
