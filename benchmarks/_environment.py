"""Where and with what a benchmark runs: the record of it, and the allocator's settings."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any, Optional

import torch

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / 'tools/_launch.sh'
ALLOCATOR = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_')
#: Set for the restarted script, so that its record names where the settings come from.
RESTARTED = 'AFA_BENCH_RESTARTED'


def keep_memory() -> None:
    """Restart this script with the allocator settings of `tools/_launch.sh`, unless all of them are set.

    glibc returns large blocks to the system at once, and the page faults can double the time of CPU tensors. It reads
    its settings when a process starts, hence the restart. Values that the user has set are kept.
    """
    if platform.libc_ver()[0] != 'glibc' or all(name in os.environ for name in ALLOCATOR) or RESTARTED in os.environ:
        return
    command = ['bash', '-c', 'source "$0" && keep_memory && exec "$@"', str(LAUNCH), sys.executable, *sys.argv]
    sys.stdout.flush()
    try:
        os.execvpe('bash', command, {**os.environ, RESTARTED: '1'})
    except FileNotFoundError:
        print('bash not found: page faults will count, set the MALLOC_* variables of tools/_launch.sh', file=sys.stderr)


def command_line() -> str:
    """Return the command that runs this script, from the root of the project."""
    return shlex.join(['python', f'benchmarks/{Path(sys.argv[0]).name}', *sys.argv[1:]])


def describe(device: torch.device) -> dict[str, Any]:
    """Record the device, the settings and the versions that timings depend on."""
    changes = _git('status', '--porcelain')
    return {
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'commit': _git('rev-parse', 'HEAD'),
        'uncommitted_changes': None if changes is None else bool(changes),
        'device': _device_name(device),
        'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        'threads': torch.get_num_threads(),
        'load_average': _load_average(),
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
        **{name: _version(name) for name in ('torch', 'mmcv', 'mmengine', 'mmseg', 'afa_mmseg')},
        'cuda': torch.version.cuda if device.type == 'cuda' else None,
        'allocator': {name: value for name, value in sorted(os.environ.items()) if name.startswith('MALLOC_')},
        'allocator_set_by': 'a restart of the benchmark' if RESTARTED in os.environ else 'the environment',
        'omp_num_threads': os.environ.get('OMP_NUM_THREADS'),
    }


def _version(name: str) -> str:
    return import_module(name).__version__


def _load_average() -> Optional[float]:
    """Return how many processes wanted a core over the last minute: other work on the machine spoils timings."""
    return round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None


def _device_name(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def _git(*args: str) -> Optional[str]:
    """Return what git prints about this repository; None where there is no git or no repository."""
    try:
        command = ['git', '--no-optional-locks', *args]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
