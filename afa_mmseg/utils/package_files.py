"""Folders and configs that belong to the package, in a checkout and in an installed wheel."""

import difflib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def config_folder() -> Path:
    """Return the folder of the shipped configs: `configs` of a checkout, `.mim/configs` of an installed package."""
    return _root() / 'configs'


def tool_folder() -> Path:
    """Return the folder of the scripts: `tools` of a checkout, `.mim/tools` of an installed package."""
    return _root() / 'tools'


def shipped_configs() -> dict[str, Path]:
    """Return the shipped configs by name, sorted, without those that others inherit from only."""
    files = sorted(config_folder().glob('[!_]*/*.py'), key=lambda path: path.stem)
    return {path.stem: path for path in files}


def find_config(name: str) -> Path:
    """Return the path of a config: a file, or the name of a shipped one, with or without `.py`.

    Raises:
        FileNotFoundError: It is neither.
    """
    path, shipped = Path(name), shipped_configs()
    if path.is_file():
        return path
    stem = name[: -len('.py')] if name.endswith('.py') else name
    if stem not in shipped:
        raise FileNotFoundError(f'config not found: {name}{suggestion(name)}')
    return shipped[stem]


def suggestion(name: str) -> str:
    """Return the end of a message about an unknown config: the closest name, and how to list all."""
    close = difflib.get_close_matches(Path(name).stem, shipped_configs(), n=1)
    hint = f'; did you mean {close[0]}?' if close else '.'
    return f'{hint} `afa config list` lists those of the package'


def _root() -> Path:
    """Return `.mim`, which `setup.py` adds to wheels, or else the checkout."""
    return PACKAGE / '.mim' if (PACKAGE / '.mim').is_dir() else PACKAGE.parent
