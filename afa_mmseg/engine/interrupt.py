"""Being told to stop, by Ctrl-C or by a scheduler: a checkpoint first, between two iterations, then the end."""

import functools
import os
import signal
import time
from contextlib import suppress
from typing import Any, Callable, NoReturn, Optional

import torch
import torch.distributed as torch_dist
from mmengine.dist import is_distributed, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS

from .atomic_checkpoints import AtomicCheckpointHook

#: What asks a run to stop: Ctrl-C, a scheduler that takes the machine back (Slurm sends SIGTERM, or what
#: `--signal` names), a terminal that is closed. Windows has the first two only.
SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP') if hasattr(signal, name))
#: Ctrl-C reaches a process twice, from the terminal and from torchrun; after so many seconds it is meant twice.
REPEAT_SECONDS = 3.0


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and did, with its checkpoint written.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@HOOKS.register_module()
class InterruptHook(Hook):
    """Finish the iteration and write a checkpoint when a signal asks the run to stop.

    Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP do, in whichever process they arrive: all processes stop before the same
    iteration. A validation is left at its next picture, by one process and then by the others, which `PeerHook` tells;
    a resumed run begins with it. A second Ctrl-C stops at once.
    The processes that load pictures wait for the end of the run.

    Raises:
        Interrupted: Between two iterations, or two batches of a validation.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.number = 0
        self.stopping = False
        self._since = 0.0
        self._previous: dict[int, Any] = {}
        self._group: Any = None

    @property
    def requested(self) -> bool:
        """Whether the run has been asked to stop."""
        return self.number != 0

    def request(self, number: int) -> None:
        """Ask the run to stop, as the signal does."""
        if not self.requested:
            self.number, self._since = number, time.monotonic()

    def before_train(self, runner: Any) -> None:
        """Listen to the signals from here on."""
        for loop in (runner.train_loop, runner.val_loop) if runner is not None else ():
            if loop is not None:
                shield_workers(loop.dataloader)
        if is_distributed():
            # gloo: the processes talk about it without waiting for their GPUs.
            self._group = torch_dist.new_group(backend='gloo')
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                self._previous[number] = signal.signal(number, self._request)

    def after_train(self, runner: Any) -> None:
        """Leave signals to whoever had them before."""
        self.release()

    def release(self) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Stop all processes if one of them was asked to."""
        if self._agreed():
            self._stop(runner)

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Stop this process if it was asked to: in a validation, some may have fewer batches than others."""
        if self.requested:
            self._stop(runner)

    def _agreed(self) -> int:
        """Give the signal that any process received before it came here; 0: none did."""
        if self._group is None:
            return self.number
        number = torch.tensor(self.number)
        torch_dist.all_reduce(number, torch_dist.ReduceOp.MAX, group=self._group)
        agreed = int(number)
        self.number = self.number or agreed  # a signal that came meanwhile counts at the next iteration
        return agreed

    def _stop(self, runner: Any) -> NoReturn:
        self.stopping = True
        for hook in runner.hooks if runner is not None else ():
            if isinstance(hook, CheckpointHook) and not hook.by_epoch and runner.iter > 0:
                saved = os.path.basename(hook.last_ckpt or '')
                if saved != hook.filename_tmpl.format(runner.iter):
                    AtomicCheckpointHook.save_now(hook, runner)  # mmengine's own hook has all that this needs
        raise Interrupted(self.number)

    def _request(self, number: int, frame: Any) -> None:
        if not self.requested:
            self.request(number)
            # No logging: a handler may run in the middle of it. The terminal may be what is gone.
            with suppress(OSError):
                if is_main_process():
                    os.write(2, b'stopping before the next iteration, with a checkpoint; Ctrl-C again: at once\n')
        elif number == signal.SIGINT and time.monotonic() - self._since > REPEAT_SECONDS:
            raise KeyboardInterrupt


def shield_workers(loader: Any) -> None:
    """Have the processes of a data loader, not yet started, ignore the signals that ask the run to stop.

    Terminals and schedulers send them to every process. The one that trains needs its pictures until it has stopped,
    and ends the others then.
    """
    loader.worker_init_fn = functools.partial(_ignore_signals, loader.worker_init_fn)


def _ignore_signals(then: Optional[Callable[[int], None]], worker_id: int) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if then is not None:
        then(worker_id)
