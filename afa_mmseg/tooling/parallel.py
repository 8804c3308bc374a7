"""The same work on many items, on several processes, with progress."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Callable, Optional, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Items handed to a process at a time.
CHUNK = 8


def run_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
    num_workers: Optional[int] = None,
) -> list[Result]:
    """Call `function` with each item, on several processes, and show progress with the time left.

    An error of `function` is raised here; items that nobody has begun are then left out, as they are after
    Ctrl-C. Processes end with the program, however that ends.

    Args:
        function: Top-level function, or a `functools.partial` of one; it and the items travel to other processes.
        items: What to call it with.
        description: Shown beside the progress bar.
        num_workers: Processes; 0: none but this one; default: one for each CPU that this program may use.

    Returns:
        Results in the order of the items.

    Raises:
        ChildProcessError: A process was killed.
        ValueError: `num_workers` is negative.
    """
    if num_workers is None:
        num_workers = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    if num_workers < 0:
        raise ValueError(f'num_workers is {num_workers}; choose 0 (this process only) or the number of processes')
    if num_workers == 0 or len(items) <= CHUNK:
        return list(show_progress(map(function, items), len(items), description))
    executor = ProcessPoolExecutor(num_workers, initializer=_follow_parent)
    try:
        return list(show_progress(executor.map(function, items, chunksize=CHUNK), len(items), description))
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f'{description}: one of {num_workers} processes was killed, as happens when memory runs out; choose fewer'
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def show_progress(results: Iterable[Result], total: int, description: str) -> Iterator[Result]:
    """Pass results on; show how many came and how long the rest will take: a bar, or a line for each tenth in a log."""
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task(description, total=total)
        for done, result in enumerate(results, 1):
            yield result
            progress.advance(task)
            if progress.disable and done * 10 // total > (done - 1) * 10 // total:
                print(f'{description}: {done}/{total}', flush=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent process, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def wait_and_exit() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_and_exit, daemon=True).start()
