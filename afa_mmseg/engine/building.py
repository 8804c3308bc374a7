"""Mistakes in a config that show only when something is built from it, told in one message."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

#: What classes raise whose arguments make no sense to them, and mmengine whose `type` it does not know.
BUILD_ERRORS = (KeyError, TypeError, AttributeError, AssertionError, IndexError, SyntaxError, ZeroDivisionError)
#: Environment variable that shows where such an error was raised.
TRACEBACK = 'AFA_TRACEBACK'


@contextmanager
def naming_config(config: str) -> Iterator[None]:
    """Turn the errors of a config that cannot be built into a `ValueError` with its name.

    mmengine says in them which class could not be built. With `AFA_TRACEBACK=1` they are left as they are.
    """
    try:
        yield
    except BUILD_ERRORS as error:
        if shows_traceback():
            raise
        raise ValueError(describe_build_error(error, config)) from error


def describe_build_error(error: BaseException, config: str) -> str:
    """Say that nothing can be built from a config, and why."""
    reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    return (
        f'{config} cannot be built: {type(error).__name__}: {reason}\n  {TRACEBACK}=1 in the environment shows where.'
    )


def shows_traceback() -> bool:
    """Whether the user wants to see where an error was raised."""
    return os.environ.get(TRACEBACK, '') not in ('', '0')
