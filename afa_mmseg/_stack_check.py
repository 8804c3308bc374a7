"""One clear ImportError when mmcv, mmengine or mmseg is missing, broken or too old."""

import importlib
import re
import warnings
from importlib import metadata
from pathlib import Path
from typing import Optional

# import name: (oldest version that works, OneDL's distribution, OpenMMLab's distribution)
STACK = {
    'mmengine': ('0.10.0', 'onedl-mmengine', 'mmengine'),
    'mmcv': ('2.0.0', 'onedl-mmcv', 'mmcv'),
    'mmseg': ('1.2.0', 'onedl-mmsegmentation', 'mmsegmentation'),
}

# What a failed import says -> what helps.
HINTS = {
    r'mmcv\._ext|mmcv\.ops': (
        "This mmcv has no compiled operators (mmcv-lite, or a build without them), which OpenMMLab's "
        'mmsegmentation needs and OneDL\'s does not. Build it with: pip install "setuptools<81" && '
        'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary mmcv mmcv'
    ),
    "No module named '(ftfy|regex)'": "OpenMMLab's mmsegmentation does not declare these two: pip install ftfy regex",
    r'pkg_resources': 'Old builds need it, new setuptools lack it: pip install "setuptools<81"',
    r'libGL|libgthread': 'A system library of OpenCV: apt-get install libgl1 libglib2.0-0',
}


def check_stack() -> None:
    """Import mmengine, mmcv and mmseg, and say what to install if one of them cannot be used.

    Raises:
        ImportError: Names every module that is missing, broken or too old, and the command to run.
    """
    problems, cause = [], None
    for module, (minimum, *_) in STACK.items():
        try:
            problem = _outdated(module, minimum)
        except Exception as error:  # a broken package can raise anything, mmseg asserts on versions
            problem, cause = _describe(module, error), cause or error
        if problem:
            problems.append(problem)
    mixed = _mixed_families()
    if problems:
        raise ImportError(_message(problems, mixed)) from cause
    if mixed:
        warnings.warn(f'{mixed}\nThings may break in odd ways. {_repair(mixed)}', stacklevel=3)


def _outdated(module: str, minimum: str) -> Optional[str]:
    version = importlib.import_module(module).__version__
    if _parse(version) < _parse(minimum):
        return f'{module} {version} is too old, at least {minimum} is needed'
    if module == 'mmseg':
        importlib.import_module('mmseg.utils')  # fails where mmcv lacks its compiled operators
    return None


def _parse(version: str) -> tuple:
    return tuple(int(number) for number in re.findall(r'\d+', version)[:3])


def _describe(module: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        return f'{module} is not installed'
    if isinstance(error, ModuleNotFoundError) and error.name in STACK:
        return f'{module} cannot be imported without {error.name}'
    reason = f'{type(error).__name__}: {error}'
    hints = [f'\n    {hint}' for pattern, hint in HINTS.items() if re.search(pattern, reason)]
    return f'{module} is installed but cannot be imported ({reason})' + ''.join(hints)


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _mixed_families() -> str:
    """Name the packages that OneDL's and OpenMMLab's distributions both write to, if any."""
    pairs = [
        f'{onedl} and {openmmlab} both install `{module}`'
        for module, (_, onedl, openmmlab) in STACK.items()
        if _installed(onedl) and _installed(openmmlab)
    ]
    return 'Both families of mm* packages are installed: ' + ', '.join(pairs) + '.' if pairs else ''


def _repair(mixed: str) -> str:
    names = ' '.join(name for _, *pair in STACK.values() for name in pair)
    return f'Remove both, then install one: pip uninstall -y {names}' if mixed else ''


def _install_command(extra: str) -> str:
    root = Path(__file__).resolve().parents[1]
    if (root / 'setup.py').is_file():
        return f'pip install -e "{root}[{extra}]"'
    return f'pip install "afa-mmseg[{extra}]"'


def _message(problems: list, mixed: str) -> str:
    openmmlab = any(_installed(name) and not _installed(onedl) for _, onedl, name in STACK.values())
    extras = ['openmmlab', 'onedl'] if openmmlab else ['onedl', 'openmmlab']
    why = 'OpenMMLab packages are here already' if openmmlab else 'the tested stack'
    lines = [
        'afa_mmseg needs mmcv, mmengine and mmseg (MMSegmentation 1.2 or newer):',
        *(f'  - {problem}' for problem in problems),
        *([f'  - {mixed}', f'    {_repair(mixed)}'] if mixed else []),
        f'Install them ({why}):',
        f'    {_install_command(extras[0])}',
        f'or, in another environment, the `{extras[1]}` extra. Never mix the two families: OneDL (onedl-mmcv, ...)',
        'and OpenMMLab (mmcv, ...) write to the same folders, and one overwrites the other.',
    ]
    return '\n'.join(lines)
