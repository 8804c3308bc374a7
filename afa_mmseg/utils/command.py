"""Entry point of the scripts of `tools/`: exit codes, one-line errors, no irrelevant warnings."""

import os
import signal
import sys
import warnings
from typing import Any, Callable, NoReturn, Optional

#: What a user's mistake, a broken file or a missing package raises.
USER_ERRORS = (ValueError, OSError, ImportError)
#: Environment variable that shows what tools hide; child processes inherit it.
VERBOSE = 'AFA_VERBOSE'
#: Starts of warnings that libraries raise in every run.
HIDDEN_WARNINGS = (
    r"<class '.*'> instance named of .* has been created",  # mmengine, for a second visualizer or logger
    r"Failed to add <class '.*'>, please provide the `save_dir` argument",  # SegLocalVisualizer of inference
    r'The draw is False, it means that the hook for visualization will not take effect',
    r'Setting (OMP|MKL)_NUM_THREADS environment variable for each process',  # mmengine, in several processes
    r'`broadcast_buffers` is deprecated',  # mmengine, of its own argument
    r'Grad strides do not match bucket view strides',  # PyTorch, of depthwise convolutions
    r"'pin_memory' argument is set as true but no accelerator is found",  # configs are for GPUs, too
)


def is_verbose() -> bool:
    """Return whether the user asks for what tools hide: `--verbose`, or `AFA_VERBOSE=1` in the environment."""
    return os.environ.get(VERBOSE, '0') not in ('', '0')


def set_verbosity() -> None:
    """Apply `--verbose`, which any tool accepts, to this process and its children; without it, hide known warnings."""
    if '--verbose' in sys.argv[1:]:
        sys.argv[1:] = [word for word in sys.argv[1:] if word != '--verbose']
        os.environ[VERBOSE] = '1'
    if not is_verbose():
        for message in HIDDEN_WARNINGS:
            warnings.filterwarnings('ignore', message=message)


def program() -> str:
    """Return the name under which the tool was started: `train.py`, or `afa train`."""
    return os.path.basename(sys.argv[0])


def positive(text: str) -> int:
    """Convert the value of an option to an integer above 0."""
    value = int(text)
    if value < 1:
        raise ValueError(f'{text} is not positive')  # argparse names the option
    return value


def comma_separated(text: str) -> list[str]:
    """Split the value of an option at commas: `cat, dog` to ['cat', 'dog']."""
    return [name.strip() for name in text.split(',') if name.strip()]


def run_command(
    main: Callable[[], Optional[int]], *, if_interrupted: str = 'the same command continues from here'
) -> NoReturn:
    """Run `main` and exit: 0 or what it returns; 1 and one message for a user's mistake; 130 or 143 if interrupted.

    SIGTERM ends the program as Ctrl-C does, with clean-up.

    Args:
        main: The script.
        if_interrupted: Message after Ctrl-C.
    """
    set_verbosity()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(main() or 0)
    except USER_ERRORS as error:
        print(f'{program()}: error: {error}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f'{program()}: interrupted; {if_interrupted}', file=sys.stderr)
        sys.exit(130)


def _terminate(number: int, frame: Any) -> None:
    sys.exit(128 + number)
