"""Converters that are stopped half-way."""

import os
import signal
import subprocess
import sys

from tests.tools.toolbox import REPO, tool_environment
from tests.utils.processes import is_running, wait_for


def count_masks(folder):
    """Count the masks under their final names."""
    return len(list(folder.glob('[!.]*.png'))) if folder.is_dir() else 0


def stop_halfway(script, arguments, masks, enough, stop):
    """Start a script as the leader of a process group, as a shell does, and stop it.

    Args:
        script: Of `tools/`; writes PNG files to the folder `masks`.
        arguments: Of the script.
        masks: The folder.
        enough: Number of masks after which `stop` is called with the process.
        stop: Sends a signal.

    Returns:
        Exit code and output; the worker processes have ended.
    """
    process = subprocess.Popen(
        [sys.executable, REPO / 'tools' / script, *map(str, arguments), '--num-workers', '2'],
        env=tool_environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: count_masks(masks) >= enough or process.poll() is not None, seconds=120)
        with open(f'/proc/{process.pid}/task/{process.pid}/children') as file:
            workers = [int(child) for child in file.read().split()]
        stop(process)
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert len(workers) >= 2
    wait_for(lambda: not any(map(is_running, workers)))
    return process.returncode, output
