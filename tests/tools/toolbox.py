"""Run the scripts of ``tools/`` as a user does."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def tool_environment(**extra):
    """The environment of a user without GPUs; what an outer torchrun or the CI set does not leak in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(('SLURM_', 'OMPI_', 'MASTER_'))}
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'PORT', 'NNODES', 'NODE_RANK'):
        kept.pop(name, None)
    return {**kept, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '-1', 'PYTHONPATH': str(REPO), **extra}


def run_tool(script, *arguments, cwd, check=True, timeout=180, **environment):
    """Run a script of ``tools/`` to its end; its output, both streams in one, is in ``stdout``."""
    interpreter = [sys.executable] if script.endswith('.py') else ['bash']
    process = subprocess.run(
        [*interpreter, str(REPO / 'tools' / script), *map(str, arguments)],
        cwd=cwd,
        env=tool_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    if check:
        assert process.returncode == 0, process.stdout[-4000:]
    return process


def load_tool(script):
    """Import a script of ``tools/`` as a module."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, REPO / 'tools' / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
