"""Entry point of the scripts of `tools/`: exit codes and one-line errors."""

import signal
import sys
from pathlib import Path
from typing import Any, Callable, NoReturn, Optional

#: What a user's mistake, a broken file or a missing package raises.
USER_ERRORS = (ValueError, OSError, ImportError)


def run_command(
    main: Callable[[], Optional[int]], *, if_interrupted: str = 'the same command continues from here'
) -> NoReturn:
    """Run `main` and exit: 0 or what it returns; 1 and one message for a user's mistake; 130 or 143 if interrupted.

    SIGTERM ends the program as Ctrl-C does, with clean-up.

    Args:
        main: The script.
        if_interrupted: Message after Ctrl-C.
    """
    name = Path(sys.argv[0]).name
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(main() or 0)
    except USER_ERRORS as error:
        print(f'{name}: error: {error}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f'{name}: interrupted; {if_interrupted}', file=sys.stderr)
        sys.exit(130)


def _terminate(number: int, frame: Any) -> None:
    sys.exit(128 + number)
