"""Process groups on any machine: mmengine's nccl on GPUs, gloo where there are none."""

import os
import subprocess
from datetime import timedelta
from typing import Any

import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from .console import QuietRunner

#: Environment variables of rank, number of processes and rank on the machine, and what starts the processes.
RANK_VARIABLES = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'tools/dist_*.sh'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID', 'tools/slurm_*.sh'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK', 'mpirun'),
)
LAUNCHERS = ('none', *RANK_VARIABLES)


def prepare_runtime(cfg: Config, launcher: str) -> None:
    """Set the launcher of a config; on a machine without GPUs, also start the gloo process group.

    mmengine starts process groups on GPUs only. On CPUs the network's wrapper is `CPUDistributedDataParallel`.

    Args:
        cfg: Changed in place; command line options are applied already.
        launcher: One of none, pytorch (torchrun), slurm, mpi.

    Raises:
        ValueError: The launcher is unknown, or its environment variables are missing.
    """
    if launcher not in LAUNCHERS:
        raise ValueError(f'launcher must be one of {", ".join(LAUNCHERS)}, got {launcher!r}')
    cfg.launcher = launcher
    if launcher == 'none':
        return
    os.environ.update(rank_variables(launcher))
    if get_device() != 'cpu':
        return
    cfg.pop('sync_bn', None)
    wrapper = dict(broadcast_buffers=False, find_unused_parameters=cfg.get('find_unused_parameters', False))
    wrapper.update(cfg.get('model_wrapper_cfg') or {}, type='CPUDistributedDataParallel')
    cfg.model_wrapper_cfg = wrapper
    if not torch_dist.is_initialized():
        seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        timeout: dict[str, Any] = {} if seconds is None else dict(timeout=timedelta(seconds=seconds))
        torch_dist.init_process_group('gloo', **timeout)


def build_runner(cfg: Config) -> Runner:
    """Build mmengine's Runner, or the one that `cfg.runner_type` names; nothing is added to what the config lists."""
    return QuietRunner.from_cfg(cfg) if cfg.get('runner_type') is None else RUNNERS.build(cfg)


def shut_down() -> None:
    """Leave the process group, if there is one."""
    if torch_dist.is_available() and torch_dist.is_initialized():
        torch_dist.destroy_process_group()


def rank_variables(launcher: str) -> dict[str, str]:
    """Translate the launcher's environment into the variables that torch.distributed reads."""
    *names, starter = RANK_VARIABLES[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher {launcher} finds no {", ".join(missing)} in the environment: '
            f'start the processes through {starter}, or leave --launcher out'
        )
    address = os.environ.get('MASTER_ADDR') or (_first_slurm_host() if launcher == 'slurm' else '127.0.0.1')
    values = dict(zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), (os.environ[name] for name in names)))
    return dict(values, MASTER_ADDR=address, MASTER_PORT=os.environ.get('MASTER_PORT', '29500'))


def _first_slurm_host() -> str:
    command = ['scontrol', 'show', 'hostnames', os.environ.get('SLURM_NODELIST', '')]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise ValueError(
            f'`{" ".join(command)}` does not name the first node: set MASTER_ADDR to its address'
        ) from error
