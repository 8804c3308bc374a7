"""Processes on whatever the machine has: nccl on GPUs, gloo where there are none."""

import os
import subprocess
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from ..models.checkpoints import guard_mmengine
from .class_count import ClassCountHook
from .cpu import revert_sync_bn
from .finite import FiniteLossHook
from .resume import ResumeHook
from .vis_backends import check_vis_backends

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
DEFAULT_PORT = '29500'


def prepare_runtime(cfg: Config, launcher: str) -> None:
    """Make process and config ready for a Runner, on GPUs or on a machine without any.

    GPUs keep mmengine's defaults. Without one, the gloo process group is initialised here (mmengine would
    call ``torch.cuda.set_device``), the model is wrapped without device ids, and SyncBN becomes BN.

    Args:
        cfg: Changed in place; command line options are merged already.
        launcher: One of none, pytorch (torchrun), slurm, mpi.

    Raises:
        ValueError: If the launcher is unknown or its environment variables are missing, if there are
            more processes than GPUs, or if the visualizer needs a package that is not installed.
    """
    if launcher not in LAUNCHERS:
        raise ValueError(f'launcher must be one of {", ".join(LAUNCHERS)}, got {launcher!r}')
    check_vis_backends(cfg)
    cfg.launcher = launcher
    distributed = launcher != 'none'
    if distributed:
        os.environ.update(_rank_variables(launcher))
    if get_device() == 'cpu':
        _prepare_cpu(cfg, distributed)
    elif distributed and torch.cuda.is_available():
        _check_gpu_count(int(os.environ['LOCAL_RANK']), torch.cuda.device_count())


def build_runner(cfg: Config) -> Runner:
    """Build mmengine's Runner, or the one that ``cfg.runner_type`` names.

    No checkpoint that it reads may run code. mmengine's gets a `ClassCountHook`, a `FiniteLossHook` and a `ResumeHook`.
    """
    guard_mmengine()
    if cfg.get('runner_type') is None:
        runner = Runner.from_cfg(cfg)
        runner.register_hook(ClassCountHook())
        runner.register_hook(FiniteLossHook())
        runner.register_hook(ResumeHook())
        return runner
    from mmseg.registry import RUNNERS

    return RUNNERS.build(cfg)


def shut_down() -> None:
    """Leave the process group, if there is one."""
    if torch_dist.is_available() and torch_dist.is_initialized():
        torch_dist.destroy_process_group()


def _prepare_cpu(cfg: Config, distributed: bool) -> None:
    reverted = revert_sync_bn(cfg)
    if not distributed:
        return
    if reverted:
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='AverageNormStatsHook')]
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}
    if not torch_dist.is_initialized():
        seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        timeout: dict[str, Any] = {} if seconds is None else dict(timeout=timedelta(seconds=seconds))
        torch_dist.init_process_group('gloo', **timeout)


def _check_gpu_count(local_rank: int, count: int) -> None:
    if local_rank >= count:
        raise ValueError(
            f'process {local_rank + 1} of this machine finds only {count} GPU(s): start at most {count} '
            'process(es) here, or set CUDA_VISIBLE_DEVICES=-1 to run on the CPU'
        )


def _rank_variables(launcher: str) -> dict[str, str]:
    """Translate the launcher's environment into the variables that torch.distributed reads."""
    if launcher == 'slurm':
        rank, world, local = _read(launcher, 'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')
        address = os.environ.get('MASTER_ADDR') or _first_slurm_host()
    elif launcher == 'mpi':
        names = (f'OMPI_COMM_WORLD_{name}' for name in ('RANK', 'SIZE', 'LOCAL_RANK'))
        rank, world, local = _read(launcher, *names)
        address = os.environ.get('MASTER_ADDR') or _single_mpi_host(world)
    else:
        rank, world, local = _read(launcher, 'RANK', 'WORLD_SIZE', 'LOCAL_RANK')
        address = os.environ.get('MASTER_ADDR', '127.0.0.1')
    port = os.environ.get('MASTER_PORT', DEFAULT_PORT)
    return dict(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=local, MASTER_ADDR=address, MASTER_PORT=port)


def _read(launcher: str, *names: str) -> list:
    missing = [name for name in names if name not in os.environ]
    if missing:
        starter = dict(pytorch='tools/dist_*.sh', slurm='tools/slurm_*.sh', mpi='mpirun')[launcher]
        raise ValueError(
            f'--launcher {launcher} finds no {", ".join(missing)} in the environment: '
            f'start the processes through {starter}, or leave --launcher out'
        )
    return [os.environ[name] for name in names]


def _first_slurm_host() -> str:
    command = ['scontrol', 'show', 'hostnames', os.environ.get('SLURM_NODELIST', '')]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return output.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise ValueError(
            f'`{" ".join(command)}` does not name the first node: set MASTER_ADDR to its address'
        ) from error


def _single_mpi_host(world: str) -> str:
    if os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') != world:
        raise ValueError('mpirun over several machines: set MASTER_ADDR to the address of the first one')
    return '127.0.0.1'
