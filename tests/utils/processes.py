"""Functions as processes of their own, to be killed, interrupted and looked at."""

import multiprocessing
import sys
import time
from pathlib import Path

FORK = multiprocessing.get_context('fork')  # starts at once: everything is imported
#: For training: threads of this process do not survive a fork, those of a server that only imports are not there yet.
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(['tests.engine.training'])


def start(function, *arguments, output=None, context=FORK):
    """Start `function` in a process; both of its output streams go to the file `output`."""
    process = context.Process(target=_run, args=(function, arguments, output))
    process.start()
    return process


def _run(function, arguments, output):
    if output is not None:
        sys.stdout = sys.stderr = Path(output).open('a', buffering=1)  # noqa: SIM115
    function(*arguments)


def is_running(pid):
    """Return whether a process runs; one that ended and is waited for does not."""
    stat = Path(f'/proc/{pid}/stat')
    return stat.exists() and stat.read_text().rsplit(')', 1)[1].split()[0] != 'Z'


def descendants(pid):
    """Return the processes that a process started, and those that they started."""
    found = []
    for thread in Path(f'/proc/{pid}/task').glob('*/children'):
        for child in thread.read_text().split():
            found += [int(child), *descendants(child)]
    return found


def wait_for(condition, seconds=30):
    """Wait until `condition()` is true and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.01)
    return value
