"""Run the scripts of ``tools/`` as a user does."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.utils.processes import descendants

REPO = Path(__file__).resolve().parents[2]


def tool_environment(**extra):
    """The environment of a user without GPUs; what an outer torchrun or the CI set does not leak in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(('SLURM_', 'OMPI_', 'MASTER_'))}
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'PORT', 'NNODES', 'NODE_RANK'):
        kept.pop(name, None)
    return {**kept, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '-1', 'PYTHONPATH': str(REPO), **extra}


def run_tool(script, *arguments, cwd, check=True, timeout=180, **environment):
    """Run a script of ``tools/`` to its end; its output, both streams in one, is in ``stdout``.

    After `timeout` seconds, all its processes print where they are, and the test fails with that.
    """
    command = [sys.executable if script.endswith('.py') else 'bash', str(REPO / 'tools' / script), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=tool_environment(PYTHONFAULTHANDLER='1', **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output = process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        for pid in [process.pid, *descendants(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)
        output = process.communicate(timeout=60)[0]
        raise AssertionError(f'{script} has not ended in {timeout} s:\n{output[-16000:]}') from None
    if check:
        assert process.returncode == 0, output[-4000:]
    return subprocess.CompletedProcess(command, process.returncode, output)
