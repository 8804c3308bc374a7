"""What runs training and testing: launching, command line options, stand-ins for machines without GPUs."""

from .atomic_checkpoints import AtomicCheckpointHook
from .broken_pictures import BrokenPictureHook
from .building import naming_config
from .class_count import ClassCountHook
from .cpu import AverageNormStatsHook, CPUAmpOptimWrapper
from .faults import check_work_dir, run_test, run_training
from .finite import FiniteLossHook
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
from .peers import PeerHook
from .replay import replay
from .resume import ResumeHook, find_checkpoint
from .schedulers import WarmupPolyLR
from .step_dump import read_dump

__all__ = [
    'CAMValLoop',
    'UpdateTrainLoop',
    'WarmupPolyLR',
    'AtomicCheckpointHook',
    'AverageNormStatsHook',
    'CPUAmpOptimWrapper',
    'BrokenPictureHook',
    'ClassCountHook',
    'FiniteLossHook',
    'InterruptHook',
    'PeerHook',
    'ResumeHook',
    'add_common_options',
    'apply_common_options',
    'build_runner',
    'check_work_dir',
    'draw_predictions',
    'enable_tta',
    'find_checkpoint',
    'load_config',
    'naming_config',
    'prepare_runtime',
    'read_dump',
    'replay',
    'require_file',
    'run_test',
    'run_training',
    'save_predictions',
    'shut_down',
]
