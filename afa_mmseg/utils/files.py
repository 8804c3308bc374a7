"""Atomic writing of files: whole or absent, never half."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Union

#: Prefix of files that are being written.
TEMPORARY = '.tmp-'


@contextmanager
def atomic_path(path: Union[str, Path]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at the end, delete it after an error.

    Whatever stops the program, `path` is unchanged or complete. A killed program leaves the temporary file, which
    `remove_leftovers` deletes. Missing folders are made.

    Example:
        >>> file = getfixture('tmp_path') / 'out' / 'mask.txt'
        >>> with atomic_path(file) as temporary:
        ...     _ = temporary.write_text('whole')
        >>> file.read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The end of the name, since a whole one may be as long as names can be; the suffix stays, for its format.
    temporary = path.with_name(f'{TEMPORARY}{os.getpid()}-{path.name[-50:]}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_same(out: Union[str, Path], *sources: Union[str, Path]) -> None:
    """Raise a `ValueError` where an output is one of the inputs, which it would replace."""
    for source in sources:
        if Path(out).resolve() == Path(source).resolve():
            raise ValueError(f'{out} is the input, which would be replaced: name another one')


def write_text(path: Union[str, Path], text: str) -> bool:
    """Write a UTF-8 text file, unless it holds that text already; return whether it was written."""
    path = Path(path)
    data = text.encode('utf-8')
    if path.is_file() and path.read_bytes() == data:
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return True


def remove_leftovers(folder: Union[str, Path]) -> None:
    """Delete the temporary files that killed programs left in `folder`."""
    for temporary in Path(folder).glob(f'{TEMPORARY}*'):
        writer = re.match(rf'{re.escape(TEMPORARY)}(\d+)-.', temporary.name)
        if writer and temporary.is_file() and not _is_running(int(writer[1])):
            temporary.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    if os.name == 'nt':  # there, signal 0 is Ctrl-C: leftovers stay
        return True
    try:
        os.kill(pid, 0)
    except (OverflowError, ProcessLookupError):
        return False
    except PermissionError:  # another user's
        return True
    return True
