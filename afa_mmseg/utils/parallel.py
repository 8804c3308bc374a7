"""Parallel map over processes, with progress."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Callable, Optional, TypeVar

from rich.progress import track

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Items sent to a process at a time.
CHUNK = 8


def run_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
    num_workers: Optional[int] = None,
    start_method: Optional[str] = None,
) -> list[Result]:
    """Call a function with each item, on several processes, and show progress; return the results in order.

    An error of `function` is raised here; items that are not started yet are then skipped, as after Ctrl-C.

    Args:
        function: Picklable: a top-level function, or a `functools.partial` of one.
        items: Its arguments.
        description: Label of the progress bar.
        num_workers: Processes; 0: this one only; default: one for each available CPU.
        start_method: Of `multiprocessing`; default: the platform's; 'spawn' for work on GPUs.

    Raises:
        ChildProcessError: A process was killed.
        ValueError: `num_workers` is negative.
    """
    num_workers = count_cpus() if num_workers is None else num_workers
    if num_workers < 0:
        raise ValueError(f'num_workers={num_workers}: use 0 (this process only) or the number of processes')
    if num_workers == 0 or len(items) <= CHUNK:
        return list(show_progress(map(function, items), len(items), description))
    executor = ProcessPoolExecutor(num_workers, multiprocessing.get_context(start_method), _init_worker)
    try:
        return list(show_progress(executor.map(function, items, chunksize=CHUNK), len(items), description))
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f'{description}: one of {num_workers} processes was killed, possibly for lack of memory; use fewer'
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def count_cpus() -> int:
    """Return the number of CPUs available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def show_progress(results: Iterable[Result], total: int, description: str) -> Iterator[Result]:
    """Yield results below a progress bar; in a log, print a line for each tenth."""
    if sys.stdout.isatty():
        yield from track(results, description, total)
        return
    for done, result in enumerate(results, 1):
        yield result
        if done * 10 // total > (done - 1) * 10 // total:
            print(f'{description}: {done}/{total}', flush=True)


def _init_worker() -> None:
    """Leave Ctrl-C to the parent process, and exit when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
