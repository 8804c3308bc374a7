"""What happens to long runs: told in one line, with nothing lost and nobody left behind."""

import errno
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional, TypeVar

from mmengine.dist import get_dist_info, is_main_process
from mmengine.hooks import Hook

from ..datasets.images import BrokenImageError
from ..utils.command import USER_ERRORS
from .broken_pictures import BrokenPictureHook
from .building import BUILD_ERRORS, describe_build_error, shows_traceback
from .class_count import WholeCheckpointHook
from .interrupt import SIGNALS, Interrupted, InterruptHook
from .peers import FAILED, STOPPED, PeerHook
from .resume import find_checkpoint

#: Exit code of a run that a scheduler stopped: start it again, with `--resume` (EX_TEMPFAIL of sysexits.h).
REQUEUE = 75
REQUEUE_SIGNALS = tuple(number for number in SIGNALS if number.name in ('SIGTERM', 'SIGUSR1'))
#: What a disk says that is full or cannot be written.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

SomeHook = TypeVar('SomeHook', bound=Hook)


def run_training(runner: Any) -> int:
    """Train, and give the exit code of the program; what goes wrong is told on one line of standard error.

    - 0: trained to the end.
    - 1: an error, told if it is one of data, disk or machine. Errors of the program itself are raised.
    - 75: a scheduler stopped the run (SIGTERM, SIGUSR1) and a checkpoint was written: start it again.
    - 130: Ctrl-C, with a checkpoint; 129: the terminal was closed, likewise.

    A scheduler ends all processes at the first that fails, so of those of an interrupted run only the main one does.
    The processes that load pictures end with this one.

    Args:
        runner: mmengine's; hooks are added, unless the config has them: `InterruptHook`, `PeerHook`,
            `BrokenPictureHook`.
    """
    interrupt = _ensure_hook(runner, InterruptHook)
    peers = _ensure_hook(runner, PeerHook)
    _ensure_hook(runner, BrokenPictureHook)
    begun = _ensure_hook(runner, _BegunHook)
    peers.on_stop, peers.is_stopping = interrupt.request, lambda: interrupt.stopping
    try:
        runner.train()
        return 0
    except KeyboardInterrupt as error:
        return _end_interrupted(runner, peers, error)
    except Exception as error:
        gone = peers.find_gone() if isinstance(error, RuntimeError) else []
        if gone:
            _say(f'error: {"; ".join(gone)}\n{_what_remains(runner)}')
            _end_at_once(peers)
        if isinstance(error, RuntimeError) and peers.find_stop():  # the connection to one that stopped
            return _end_interrupted(runner, peers, Interrupted(peers.find_stop()))
        peers.leave(FAILED + explain(error).splitlines()[0])
        message = _message_for_user(error, begun.value, runner)
        if message is None:
            raise
        _say(f'error: {message}' + (f'\n{_what_remains(runner)}' if begun.value else ''))
        return 1
    finally:
        interrupt.release()
        end_workers()


def run_test(runner: Any) -> int:
    """Test, and give the exit code: 0, or 1 after an error of files or config, told in one message.

    Args:
        runner: mmengine's; a `WholeCheckpointHook` is added. Errors of the program itself are raised.
    """
    begun = _ensure_hook(runner, _BegunHook)
    _ensure_hook(runner, WholeCheckpointHook)
    try:
        runner.test()
        return 0
    except Exception as error:
        message = _message_for_user(error, begun.value, runner)
        if message is None:
            raise
        _say(f'error: {message}')
        return 1
    except KeyboardInterrupt:
        _say('interrupted')
        return 128 + signal.SIGINT
    finally:
        end_workers()


def check_work_dir(path: str) -> None:
    """Raise an `OSError` unless files can be written to the work directory; missing folders are made."""
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b'room for a little')
            file.flush()
    except OSError as error:
        raise OSError(
            f'the work directory {path} cannot be written ({error.strerror or error})\n  Choose another one: --work-dir'
        ) from error


def explain(error: BaseException) -> str:
    """Give the message of an error, without the traceback that a process which loads pictures adds to it."""
    text = str(error).strip() or type(error).__name__
    if text.startswith('Caught ') and 'Traceback (most recent call last)' in text:
        text = re.split(rf'^(?:[\w.]+\.)?{type(error).__name__}: ', text, flags=re.MULTILINE)[-1]
    return text


def end_workers() -> None:
    """Kill the processes that load pictures: they do not listen to signals, and have nothing to lose."""
    workers = [process for process in multiprocessing.active_children() if process.daemon]
    if workers and hasattr(signal, 'SIGCHLD'):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler takes it for an accident
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(timeout=5)


class _BegunHook(Hook):
    """Knows whether training or testing has begun: what fails before that is the user's, in files and config."""

    def __init__(self) -> None:
        self.value = False

    def before_train(self, runner: Any) -> None:
        self.value = True

    before_test = before_train


def _message_for_user(error: Exception, begun: bool, runner: Any) -> Optional[str]:
    """Give what to tell of an error that is of data, config, disk or machine; None: it is the program's own."""
    if isinstance(error, BUILD_ERRORS) and not begun and not shows_traceback():
        return describe_build_error(error, runner.cfg.filename or 'the config')
    return explain(error) if _is_users(error, begun) else None


def _is_users(error: Exception, begun: bool) -> bool:
    if not begun:
        return isinstance(error, USER_ERRORS)
    return isinstance(error, (BrokenImageError, FloatingPointError)) or _is_disk_error(error)


def _is_disk_error(error: Optional[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return True
        error = error.__cause__
    return False


def _end_interrupted(runner: Any, peers: PeerHook, error: KeyboardInterrupt) -> int:
    number = error.number if isinstance(error, Interrupted) else signal.SIGINT
    peers.leave(f'{STOPPED}{int(number)}')
    if not is_main_process():
        return 0 if isinstance(error, Interrupted) else 128 + number
    _say(f'interrupted; --resume goes on from the last checkpoint in {runner.work_dir}{_named_checkpoint(runner)}')
    wanted_back = isinstance(error, Interrupted) and number in REQUEUE_SIGNALS
    return REQUEUE if wanted_back else 128 + number


def _end_at_once(peers: PeerHook) -> None:
    """End without waiting for connections to processes that are gone, as a GPU's would."""
    peers.leave()
    end_workers()
    sys.stdout.flush()
    os._exit(1)


def _what_remains(runner: Any) -> str:
    return f'  --resume goes on from the last checkpoint in {runner.work_dir}{_named_checkpoint(runner)}'


def _named_checkpoint(runner: Any) -> str:
    with suppress(ValueError, OSError):
        path = find_checkpoint(runner.work_dir)
        return f': {Path(path).name}' if path else ' (there is none yet)'
    return ''


def _ensure_hook(runner: Any, kind: type[SomeHook]) -> SomeHook:
    for hook in runner.hooks:
        if isinstance(hook, kind):
            return hook
    hook = kind()
    runner.register_hook(hook)
    return hook


def _say(message: str) -> None:
    rank, world = get_dist_info()
    place = f' (rank {rank})' if world > 1 and not is_main_process() else ''
    text = f'{os.path.basename(sys.argv[0])}: {message}'.replace('\n', f'{place}\n', 1)
    with suppress(OSError):  # the terminal may be gone
        print(text, file=sys.stderr, flush=True)
