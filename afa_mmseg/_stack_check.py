"""Import of mmcv, mmengine and mmseg: one ImportError when one is missing, broken or too old, and no other messages."""

import builtins
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

# import name: (oldest supported version, OneDL's distribution, OpenMMLab's distribution)
STACK = {
    'mmengine': ('0.10.0', 'onedl-mmengine', 'mmengine'),
    'mmcv': ('2.0.0', 'onedl-mmcv', 'mmcv'),
    'mmseg': ('1.2.0', 'onedl-mmsegmentation', 'mmsegmentation'),
}
# Pattern in the message of a failed import: remedy.
HINTS = {
    r'mmcv\._ext|mmcv\.ops': 'mmcv lacks compiled operators. Build it with: pip install "setuptools<81" && '
    'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary mmcv "mmcv>=2.1,<2.2"',
    "No module named '(ftfy|regex)'": 'pip install ftfy regex',
    r'pkg_resources': 'pip install "setuptools<81"',
    r'libGL|libgthread': 'apt-get install libgl1 libglib2.0-0',
}
# What mmcv and mmseg print about optional parts that are not installed.
NOISE = re.compile(r'Could not import OneDL|Fail to import ``MultiScaleDeformableAttention``')


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Hide `NOISE` while modules are imported, unless `--verbose` or `AFA_VERBOSE=1` is set; nothing stays changed."""
    if '--verbose' in sys.argv or os.environ.get('AFA_VERBOSE', '0') not in ('', '0'):
        yield
        return
    show, write = warnings.showwarning, builtins.print

    def show_others(message: Any, *args: Any, **kwargs: Any) -> None:
        if not NOISE.match(str(message)):
            show(message, *args, **kwargs)

    def print_others(*args: Any, **kwargs: Any) -> None:
        if not NOISE.match(str(next(iter(args), ''))):
            write(*args, **kwargs)

    with mock.patch.object(warnings, 'showwarning', show_others), mock.patch.object(builtins, 'print', print_others):
        yield


def check_stack() -> None:
    """Import mmengine, mmcv and mmseg.

    Raises:
        ImportError: Names every module that is missing, broken or too old, and the command to run.
    """
    problems, cause = [], None
    for module, (minimum, *_) in STACK.items():
        try:
            version = importlib.import_module(module).__version__
            if _parse(version) < _parse(minimum):
                problems.append(f'{module} {version} is too old, at least {minimum} is needed')
            elif module == 'mmseg':
                importlib.import_module('mmseg.utils')  # fails where mmcv lacks its compiled operators
        except Exception as error:  # a broken package can raise anything, mmseg asserts on versions
            problems.append(_describe(module, error))
            cause = cause or error
    mixed = [f'{one} and {other} both install `{module}`' for module, (_, one, other) in STACK.items()
             if _installed(one) and _installed(other)]  # fmt: skip
    if mixed:
        names = ' '.join(name for _, *pair in STACK.values() for name in pair)
        mixed.append(f'remove both families of packages, then install one: pip uninstall -y {names}')
    if problems:
        lines = ''.join(f'\n  - {problem}' for problem in [*problems, *mixed])
        needed = 'afa_mmseg requires mmcv, mmengine and mmseg (MMSegmentation 1.2 or newer):'
        raise ImportError(needed + lines + _remedy()) from cause
    if mixed:
        warnings.warn('; '.join(mixed), stacklevel=3)


def _parse(version: str) -> tuple:
    return tuple(int(number) for number in re.findall(r'\d+', version)[:3])


def _describe(module: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        return f'{module} is not installed'
    reason = f'{type(error).__name__}: {error}'
    hints = [f'\n    {hint}' for pattern, hint in HINTS.items() if re.search(pattern, reason)]
    return f'{module} is installed but cannot be imported ({reason})' + ''.join(hints)


def _installed(distribution: str) -> bool:
    return any(True for _ in metadata.distributions(name=distribution))


def _remedy() -> str:
    openmmlab = any(_installed(name) and not _installed(onedl) for _, onedl, name in STACK.values())
    root = Path(__file__).resolve().parents[1]
    target = f'-e "{root}[{{}}]"' if (root / 'setup.py').is_file() else '"afa-mmseg[{}]"'
    return (
        f'\nInstall them: pip install {target.format("openmmlab" if openmmlab else "onedl")}\n'
        'Never mix the two families: OneDL (onedl-mmcv, ...) and OpenMMLab (mmcv, ...) write to the same folders.'
    )
