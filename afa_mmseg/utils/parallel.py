"""The same work on many items, on several processes, with progress."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Callable, Optional, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Items handed to a process at a time.
CHUNK = 8
#: How long a signal may wait to be noticed.
POLL_SECONDS = 0.1


def run_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
    num_workers: Optional[int] = None,
    start_method: Optional[str] = None,
) -> list[Result]:
    """Call `function` with each item, on several processes, and show progress with the time left.

    An error of `function` is raised here; items that nobody has begun are then left out, as they are after
    Ctrl-C. Processes end with the program, however that ends.

    Args:
        function: Top-level function, or a `functools.partial` of one; it and the items travel to other processes.
        items: What to call it with.
        description: Shown beside the progress bar.
        num_workers: Processes; 0: none but this one; default: one for each CPU that this program may use.
        start_method: Of `multiprocessing`, if not the platform's own: 'spawn' for work on GPUs.

    Returns:
        Results in the order of the items.

    Raises:
        ChildProcessError: A process was killed.
        ValueError: `num_workers` is negative.
    """
    if num_workers is None:
        num_workers = count_cpus()
    if num_workers < 0:
        raise ValueError(f'num_workers is {num_workers}; choose 0 (this process only) or the number of processes')
    if num_workers == 0 or len(items) <= CHUNK:
        return list(show_progress(map(function, items), len(items), description))
    with _signals_on_request() as check_signals:
        context = multiprocessing.get_context(start_method)
        executor = ProcessPoolExecutor(num_workers, context, _follow_parent)
        try:
            chunks = [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]
            futures = [executor.submit(_call_with_each, function, chunk) for chunk in chunks]
            return list(show_progress(_results(futures, check_signals), len(items), description))
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f'{description}: one of {num_workers} processes was killed, as happens when memory runs out; '
                'choose fewer'
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


def count_cpus() -> int:
    """Count the CPUs that this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


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


def _call_with_each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _results(futures: Sequence['Future[list[Result]]'], check_signals: Callable[[], None]) -> Iterator[Result]:
    for future in futures:
        while not wait([future], timeout=POLL_SECONDS).done:
            check_signals()
        check_signals()
        yield from future.result()


@contextmanager
def _signals_on_request() -> Iterator[Callable[[], None]]:
    """Keep SIGINT and SIGTERM back until the function that is given is called.

    Their handlers raise. In the middle of what the executor does with its queues that would leave a lock
    closed for ever.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield lambda: None
        return
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }

    def handle() -> None:
        if received:
            number = received.pop(0)
            handler = handlers[signal.Signals(number)]
            if callable(handler):
                handler(number, None)
            elif handler == signal.SIG_DFL:
                sys.exit(128 + number)

    try:
        yield handle
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    handle()


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
