"""Training and testing: hooks, loops, schedule, launching and command line options."""

from .atomic_checkpoints import AtomicCheckpointHook
from .config_check import check_config, naming_config
from .console import QuietRunner, RunLengthLoggerHook
from .cpu import AverageNormStatsHook, CPUAmpOptimWrapper, CPUDistributedDataParallel
from .data_hooks import ClassCountHook, SkippedImageHook
from .finite import FiniteLossHook
from .launch import build_runner, prepare_runtime, shut_down
from .loops import CAMValLoop, UpdateTrainLoop
from .options import (
    add_common_options,
    apply_common_options,
    draw_predictions,
    enable_tta,
    evaluate_classifier,
    load_config,
    refuse_inputs,
    refuse_published,
    require_file,
    save_predictions,
)
from .resume import ResumeHook, find_checkpoint
from .schedulers import WarmupPolyLR
from .settings import merge_options
from .shutdown import ShutdownHook, run_test, run_training

__all__ = [
    'AtomicCheckpointHook',
    'AverageNormStatsHook',
    'CAMValLoop',
    'CPUAmpOptimWrapper',
    'CPUDistributedDataParallel',
    'ClassCountHook',
    'FiniteLossHook',
    'QuietRunner',
    'ResumeHook',
    'RunLengthLoggerHook',
    'ShutdownHook',
    'SkippedImageHook',
    'UpdateTrainLoop',
    'WarmupPolyLR',
    'add_common_options',
    'apply_common_options',
    'build_runner',
    'check_config',
    'draw_predictions',
    'enable_tta',
    'evaluate_classifier',
    'find_checkpoint',
    'load_config',
    'merge_options',
    'naming_config',
    'prepare_runtime',
    'refuse_inputs',
    'refuse_published',
    'require_file',
    'run_test',
    'run_training',
    'save_predictions',
    'shut_down',
]
