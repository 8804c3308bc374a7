"""Graceful shutdown: a checkpoint on Ctrl-C and SIGTERM, exit codes, errors reported in one message."""

import functools
import os
import re
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Callable, NoReturn, Optional

import torch
import torch.distributed as torch_dist
from mmengine.dist import all_gather_object, get_dist_info, is_distributed, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.registry import HOOKS

from ..datasets.images import BrokenImageError
from ..utils.command import USER_ERRORS
from .atomic_checkpoints import AtomicCheckpointHook
from .config_check import BUILD_ERRORS, describe_build_error, shows_traceback

#: Ctrl-C, a scheduler that ends a job (Slurm sends SIGTERM, or what `--signal` names), a closed terminal.
SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP') if hasattr(signal, name))
#: Exit code of a run that a scheduler stopped, which is to be started again with `--resume` (EX_TEMPFAIL).
REQUEUE = 75
#: Ctrl-C reaches a process twice, from the terminal and from torchrun; a later one is the user's second.
REPEAT_SECONDS = 3.0


class Stopped(KeyboardInterrupt):
    """Raised between two iterations after a signal, once the checkpoint is written.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@HOOKS.register_module()
class ShutdownHook(Hook):
    """On a signal, finish the iteration, write a checkpoint and stop; a second Ctrl-C stops at once.

    All ranks agree before each iteration and each batch of a validation that all of them have, so a signal to one
    stops all before the same one. A resumed run repeats a validation that was stopped.

    Raises:
        Stopped: Between two iterations, or two batches of a validation.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.number = 0
        self.started = False
        self._since = 0.0
        self._previous: dict[int, Any] = {}
        self._group: Any = None
        self._common_batches = 0

    def before_train(self, runner: Any) -> None:
        """Install the signal handlers."""
        self.started = True
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None:
                shield_workers(loop.dataloader)
        if is_distributed():
            self._group = torch_dist.new_group(backend='gloo')  # does not wait for GPUs
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` does
                self._previous[number] = signal.signal(number, self._request)

    def before_test(self, runner: Any) -> None:
        self.started = True

    def after_train(self, runner: Any) -> None:
        self.release()

    def release(self) -> None:
        """Restore the signal handlers from before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        number = self._agree()
        if number:
            self._stop(runner, number)

    def before_val_epoch(self, runner: Any) -> None:
        self._common_batches = min(all_gather_object(len(runner.val_dataloader)))

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        number = self._agree() if batch_idx < self._common_batches else 0  # later ones do not come on all ranks
        if number:
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # the network holds the averages while it is validated
            self._stop(runner, number)

    def _agree(self) -> int:
        """Return the signal that any rank received before it came here, or 0."""
        if self._group is None:
            return self.number
        number = torch.tensor(self.number)
        torch_dist.all_reduce(number, torch_dist.ReduceOp.MAX, group=self._group)
        return int(number)

    def _stop(self, runner: Any, number: int) -> NoReturn:
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and not hook.by_epoch and runner.iter > 0:
                saved = os.path.basename(hook.last_ckpt or '')
                if saved != hook.filename_tmpl.format(runner.iter):
                    AtomicCheckpointHook.save_now(hook, runner)  # works on mmengine's hook, too
        if self._group is not None:  # torchrun ends all ranks when the first one exits
            torch_dist.barrier(group=self._group)
            for other in self._previous:
                signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    def _request(self, number: int, frame: Any) -> None:
        if not self.number:
            self.number, self._since = number, time.monotonic()
            if is_main_process():
                with suppress(OSError):  # the terminal may be closed; logging is not safe in a handler
                    os.write(2, b'stopping before the next iteration, with a checkpoint; Ctrl-C again: at once\n')
        elif number == signal.SIGINT and time.monotonic() - self._since > REPEAT_SECONDS:
            raise KeyboardInterrupt


def run_training(runner: Any) -> int:
    """Train and return the exit code: 0, 1 after an error, 75 after SIGTERM or SIGUSR1, 130 after Ctrl-C.

    Errors of config, data, disk and non-finite numbers are reported in one message; all others are raised.
    """
    return _run(runner, runner.train, f'--resume continues from the newest checkpoint in {runner.work_dir}')


def run_test(runner: Any) -> int:
    """Test and return the exit code, as `run_training`."""
    return _run(runner, runner.test)


def _run(runner: Any, action: Callable[[], Any], *hints: str) -> int:
    try:
        action()
        return 0
    except KeyboardInterrupt as error:
        number = getattr(error, 'number', signal.SIGINT)
        if is_main_process():
            _report('; '.join(('interrupted', *hints)))
        return REQUEUE if number not in (signal.SIGINT, getattr(signal, 'SIGHUP', None)) else 128 + number
    except Exception as error:
        hooks = [hook for hook in runner.hooks if isinstance(hook, ShutdownHook)]
        for hook in hooks:
            hook.release()
        started = any(hook.started for hook in hooks)
        message = _message(error, started, runner.cfg.filename or 'the config')
        if message is None:
            raise
        _report('\n  '.join((f'error: {message}', *(hints if started else ()))))
        return 1


def _message(error: Exception, started: bool, config: str) -> Optional[str]:
    """Return what to report of a user's or the machine's error; None: it is the program's own."""
    if shows_traceback():
        return None
    if not started and isinstance(error, BUILD_ERRORS):
        return describe_build_error(error, config)
    users = (BrokenImageError, OSError) if started else USER_ERRORS
    return explain(error) if isinstance(error, (FloatingPointError, *users)) else None


def explain(error: BaseException) -> str:
    """Return the message of an error, without the traceback that a worker process adds to it."""
    text = str(error).strip() or type(error).__name__
    if text.startswith('Caught ') and 'Traceback (most recent call last)' in text:
        text = re.split(rf'^(?:[\w.]+\.)?{type(error).__name__}: ', text, flags=re.MULTILINE)[-1]
    return text


def shield_workers(loader: Any) -> None:
    """Have the worker processes of a data loader, not yet started, ignore the signals that stop the run."""
    loader.worker_init_fn = functools.partial(_ignore_signals, loader.worker_init_fn)


def _ignore_signals(then: Optional[Callable[[int], None]], worker_id: int) -> None:
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # Linux
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if then is not None:
        then(worker_id)


def _end_with_parent() -> None:
    """End this worker at a SIGTERM of its parent, as multiprocessing sends at exit, but of no other process."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)  # without clean-up: what the main thread does is not waited for


def _report(message: str) -> None:
    rank, world = get_dist_info()
    place = f' (rank {rank})' if world > 1 and rank else ''
    with suppress(OSError):  # the terminal may be closed
        print(f'{os.path.basename(sys.argv[0])}: {message}{place}', file=sys.stderr, flush=True)
