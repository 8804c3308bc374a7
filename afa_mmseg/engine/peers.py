"""The processes of one training keep an eye on each other."""

import math
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Callable, Optional

import torch.distributed as torch_dist
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

#: How often each process shows that it lives.
BEAT_SECONDS = 1.0
#: Beats that a process misses before others, whose connection to it broke, call it gone.
MISSED_BEATS = 4
#: Last words of a process.
LEFT, FAILED, STOPPED = 'left', 'failed: ', 'stopped by signal '


@HOOKS.register_module()
class PeerHook(Hook):
    """Name the process that is gone, and end where a connection would hang.

    Each process counts up a number in the store of torch's process group, from a thread of its own, and looks at
    those of the others. When a connection breaks, `find_gone` says whose. Where nothing breaks, because a GPU waits
    for another that no longer answers, the process is ended after `timeout`. A process that was told to stop has the
    others stop too.

    Args:
        timeout: Seconds without a sign of life from another process after which this one ends; None: never.
    """

    priority = 'VERY_HIGH'

    def __init__(self, timeout: Optional[float] = 45.0) -> None:
        if timeout is not None and timeout < MISSED_BEATS * BEAT_SECONDS:
            raise ValueError(
                f'timeout of PeerHook is {timeout} s; choose {MISSED_BEATS * BEAT_SECONDS:.0f} s or more, '
                'or None to wait for ever'
            )
        self.timeout = timeout
        #: Called, in another thread, with the signal that another process was stopped by.
        self.on_stop: Callable[[int], None] = lambda number: None
        #: Whether this process is about to end in order, however long that takes.
        self.is_stopping: Callable[[], bool] = lambda: False
        self._watch: Optional[PeerWatch] = None

    def before_train(self, runner: Any) -> None:
        """Begin to show life and to watch."""
        rank, world = get_dist_info()
        if world == 1:
            return
        names: list[Any] = [None] * world
        torch_dist.all_gather_object(names, f'rank {rank} (process {os.getpid()} on {socket.gethostname()})')
        self._watch = PeerWatch(_connect(), rank, names)
        torch_dist.barrier()  # every process has shown life once
        self._watch.start(self.timeout, _end_process, lambda number: self.on_stop(number), lambda: self.is_stopping())

    def after_train(self, runner: Any) -> None:
        """Tell the others that this process is done."""
        self.leave()

    def leave(self, word: str = LEFT) -> None:
        """Tell the others that this process ends: in order, `FAILED` and why, or `STOPPED` and the signal."""
        if self._watch is not None:
            self._watch.leave(word)
            self._watch = None

    def find_gone(self) -> list[str]:
        """Wait for a few beats and name the processes that are gone or have failed."""
        return [] if self._watch is None else self._watch.find_gone()

    def find_stop(self) -> int:
        """Give the signal that another process was stopped by; 0: none was."""
        return 0 if self._watch is None else self._watch.find_stop()


class PeerWatch:
    """Beats in a store, and a thread that makes them and watches those of the others.

    Args:
        store: Keeps them; used by the thread only, once that runs.
        rank: Of this process.
        names: Of all processes, in the order of their ranks.
    """

    def __init__(self, store: Any, rank: int, names: list[str]) -> None:
        self._store = store
        self._rank = rank
        self._names = names
        self._seen = [''] * len(names)
        self._missed = [0] * len(names)
        self._polls = 0
        self._store_missed = 0
        self._limit: Optional[int] = None
        self._ended = threading.Event()
        self._last_word = ''
        self._beat()

    def start(
        self,
        timeout: Optional[float],
        on_silence: Callable[[str], None],
        on_stop: Callable[[int], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Begin to beat and to watch, in a thread.

        Args:
            timeout: Seconds; see `PeerHook`.
            on_silence: Called with a message if another process is silent, or has ended, for so long.
            on_stop: Called with the signal that another process was stopped by, again and again.
            is_stopping: Whether this process is about to end in order: then silence is no matter.
        """
        self._limit = None if timeout is None else round(timeout / BEAT_SECONDS)
        self._on_silence, self._on_stop, self._is_stopping = on_silence, on_stop, is_stopping
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def leave(self, last_word: str) -> None:
        """Stop, and let the others know."""
        self._last_word = last_word
        self._ended.set()
        self._thread.join(timeout=2 * BEAT_SECONDS)
        if last_word != LEFT and self._rank == 0:
            time.sleep(2 * BEAT_SECONDS)  # the store may end with this process: the others read it before

    def find_gone(self) -> list[str]:
        """Wait for `MISSED_BEATS` beats and tell who made none, or failed."""
        start, deadline = self._polls, time.monotonic() + 3 * MISSED_BEATS * BEAT_SECONDS
        while self._polls <= start + MISSED_BEATS and time.monotonic() < deadline:
            time.sleep(BEAT_SECONDS / 10)
        return [
            text
            for text, seen, missed in self._ends()
            if seen.startswith(FAILED) or (missed >= MISSED_BEATS and not seen.startswith(STOPPED))
        ]

    def find_stop(self) -> int:
        """Give the signal that another process said it was stopped by; 0: none did."""
        numbers = [int(seen[len(STOPPED) :]) for seen in self._seen if seen.startswith(STOPPED)]
        return max(numbers, default=0)

    def _ends(self) -> Iterator[tuple[str, str, int]]:
        """Describe what became of each process that has not left in order: text, last word, beats missed."""
        for name, seen, missed in zip(self._names, self._seen, self._missed):
            if seen != LEFT:
                yield f'{name} {seen if _has_ended(seen) else "is gone"}', seen, missed
        if self._store_missed and not _has_ended(self._seen[0]):
            yield f'{_store_keeper(self._names)} is gone', '', self._store_missed

    def _run(self) -> None:
        limit = math.inf if self._limit is None else self._limit
        while not self._ended.wait(BEAT_SECONDS):
            self._look()
            if self.find_stop():
                self._on_stop(self.find_stop())
            late = [text for text, _, missed in self._ends() if missed >= limit]
            if late and not self._is_stopping():
                self._on_silence(f'{"; ".join(late)}: no sign of life for {limit * BEAT_SECONDS:.0f} s')
                return
        self._beat()

    def _look(self) -> None:
        self._polls += 1
        try:
            self._beat()
            values = [value.decode() for value in self._store.multi_get([_key(r) for r in range(len(self._names))])]
        except RuntimeError:
            self._store_missed += 1
            self._missed[0] += _has_ended(self._seen[0])  # the store may have ended with it
            return
        self._store_missed = 0
        for rank, value in enumerate(values):
            self._missed[rank] = self._missed[rank] + 1 if value == self._seen[rank] else 0
        self._seen = values

    def _beat(self) -> None:
        try:
            self._store.set(_key(self._rank), self._last_word or str(self._polls))
        except RuntimeError:
            if not self._last_word:
                raise


def _has_ended(word: str) -> bool:
    return word == LEFT or word.startswith((FAILED, STOPPED))


def _key(rank: int) -> str:
    return f'beat/{rank}'


def _connect() -> Any:
    """Open a connection to the store of the process group, for the thread alone."""
    store = torch_dist.TCPStore(
        os.environ['MASTER_ADDR'],
        int(os.environ['MASTER_PORT']),
        is_master=False,
        timeout=timedelta(seconds=5),
        wait_for_workers=False,
    )
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    return torch_dist.PrefixStore(f'afa_mmseg/{attempt}', store)


def _store_keeper(names: list[str]) -> str:
    by_launcher = os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True'
    return f'torchrun on {os.environ["MASTER_ADDR"]}' if by_launcher else names[0]


def _end_process(message: str) -> None:
    """End from a thread while the main one waits for what will not come."""
    print(f'{os.path.basename(sys.argv[0])}: error: {message}; --resume goes on', file=sys.stderr, flush=True)
    os._exit(1)
