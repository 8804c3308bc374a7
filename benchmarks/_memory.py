"""Peak memory of one call."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Optional

import torch

#: Every block from 64 KiB on is a mapping of its own that leaves the process when it is freed.
RETURN_MEMORY = dict(MALLOC_MMAP_THRESHOLD_='65536', MALLOC_TRIM_THRESHOLD_='65536', MALLOC_TOP_PAD_='0')
MIB = 2**20

#: Peak above what was there before the call, and in all, in MiB.
Peak = dict[str, float]


def peak_on_gpu(run: Callable[[], object], device: torch.device) -> Peak:
    """Measure what torch's allocator hands out during a call."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = run()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)
    del result
    return _in_mib(peak, before)


def peak_in_child(key: str) -> Optional[Peak]:
    """Have a fresh process measure the call of this name; None where the system has no such figure (not Linux)."""
    if not os.access('/proc/self/clear_refs', os.W_OK):
        return None
    command = [sys.executable, *sys.argv, '--memory-of', key]
    child = subprocess.run(command, env={**os.environ, **RETURN_MEMORY}, capture_output=True, text=True)
    if child.returncode != 0 or not child.stdout.strip():
        print(f'memory of {key} not measured:\n{child.stderr[-2000:]}', file=sys.stderr)
        return None
    return json.loads(child.stdout.splitlines()[-1])


def peak_of_process(run: Callable[[], object]) -> Peak:
    """Measure the growth of this process's resident memory during a call, by Linux's own high-water mark.

    The process must have been started with `RETURN_MEMORY`: else blocks that were freed before the call stay
    resident, are used again and do not count.
    """
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5')  # the mark starts again from here
    before = _status('VmRSS')
    result = run()
    peak = _status('VmHWM')
    del result
    return _in_mib(peak, before)


def _in_mib(peak: int, before: int) -> Peak:
    return dict(extra_mib=round(max(peak - before, 0) / MIB, 1), total_mib=round(peak / MIB, 1))


def _status(field: str) -> int:
    """Read a size from /proc/self/status, in bytes."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024
    raise KeyError(f'{field} not found in /proc/self/status')
