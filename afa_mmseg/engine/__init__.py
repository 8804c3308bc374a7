"""What runs training and testing: launching, command line options, stand-ins for machines without GPUs."""

from .class_count import ClassCountHook
from .cpu import AverageNormStatsHook, CPUAmpOptimWrapper
from .interrupt import InterruptHook
from .launch import build_runner, prepare_runtime, shut_down
from .loops import CAMValLoop, UpdateTrainLoop
from .options import (
    add_common_options,
    apply_common_options,
    draw_predictions,
    enable_tta,
    load_config,
    require_file,
    save_predictions,
)
from .schedulers import WarmupPolyLR

__all__ = [
    'CAMValLoop',
    'UpdateTrainLoop',
    'WarmupPolyLR',
    'AverageNormStatsHook',
    'CPUAmpOptimWrapper',
    'ClassCountHook',
    'InterruptHook',
    'add_common_options',
    'apply_common_options',
    'build_runner',
    'draw_predictions',
    'enable_tta',
    'load_config',
    'prepare_runtime',
    'require_file',
    'save_predictions',
    'shut_down',
]
