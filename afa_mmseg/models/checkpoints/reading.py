"""Reading of checkpoints, none of which may run code."""

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

import torch
from torch import Tensor

from ...utils.checks import first_few
from .trust import TRUSTING_TOOLS, is_trusting, run_and_read

#: Files that hold the weights in a folder of Hugging Face's hub, the first that is there.
SNAPSHOT_FILES = ('model.safetensors', 'pytorch_model.bin')
#: What mmengine's checkpoints hold besides tensors and plain values: logs, and the numbers in them.
MMENGINE_GLOBALS = (
    'mmengine.logging.history_buffer.HistoryBuffer',
    'builtins.getattr',
    'numpy.ndarray',
    'numpy.dtype',
    *(f'numpy.{core}.multiarray.{name}' for core in ('core', '_core') for name in ('_reconstruct', 'scalar')),
)


class Ignored:
    """Stands for an object of a checkpoint that nothing is made from."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_checkpoint(path: Union[str, Path], map_location: Any = 'cpu') -> Any:
    """Read what a checkpoint holds: tensors and plain values.

    Objects that mmengine's training checkpoints contain besides are replaced by an `Ignored`; a file with any
    other is refused. Nothing that a file names is ever run, except inside `trusting`.

    Args:
        path: Checkpoint (`.pth`, `.pt`, `.bin`), `.safetensors` file, or a folder of Hugging Face's hub.
        map_location: Where tensors go, as `torch.load` takes it.

    Raises:
        FileNotFoundError: There is no such file, or the folder holds none.
        ValueError: The file is no checkpoint, is broken, or holds objects that would have to be run.
        ModuleNotFoundError: `safetensors` is needed and not installed.
    """
    path = find_file(path)
    with path.open('rb') as file:
        start = file.read(256)
    _check_download(path, start)
    return _read_safetensors(path) if path.suffix == '.safetensors' else read_torch(path, map_location)


def find_file(path: Union[str, Path]) -> Path:
    """Give the file itself, or the one that holds the weights in a folder of Hugging Face's hub."""
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f'checkpoint not found: {path}')
    for name in SNAPSHOT_FILES:
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(
        f'{path} is a folder without {" or ".join(SNAPSHOT_FILES)}: '
        f'it holds {first_few(sorted(file.name for file in path.iterdir())) or "nothing"}.\n'
        '  Name the checkpoint itself.'
    )


def state_of(checkpoint: Any) -> dict[str, Tensor]:
    """Find the state dict in what a file holds.

    Raises:
        ValueError: There is none, or it holds something else than tensors.
    """
    if isinstance(checkpoint, dict):
        checkpoint = checkpoint.get('state_dict', checkpoint)
    if not isinstance(checkpoint, dict):
        raise ValueError(f'no state dict: the file holds a {type(checkpoint).__name__}')
    strange = [str(key) for key, value in checkpoint.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(f'no state dict: these are no tensors: {first_few(strange)}')
    return dict(checkpoint)


def read_state(path: Union[str, Path]) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint; see `read_checkpoint`, `state_of`."""
    checkpoint = read_checkpoint(path)
    with named(path):
        return state_of(checkpoint)


@contextmanager
def named(path: Union[str, Path]) -> Iterator[None]:
    """Put the name of the file before the message of a `ValueError`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _check_download(path: Path, start: bytes) -> None:
    """Say it where a download left something else than the file."""
    if start.startswith(b'version https://git-lfs'):
        raise ValueError(f'{path} is a pointer of Git LFS, not the weights: fetch them with `git lfs pull`')
    if start.lstrip()[:1] == b'<':
        raise ValueError(f'{path} is a web page, not a checkpoint: download the file that the page offers')


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{path.name} needs the package safetensors: pip install -e ".[converters]"'
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f'{path} is no safetensors file, or incomplete: {error}') from error


def read_torch(path: Any, map_location: Any = 'cpu') -> Any:
    """Read what `torch.save` wrote, from a path or a file that is open; see `read_checkpoint`."""
    if is_trusting():
        return run_and_read(path, map_location)
    try:
        with _ignoring(MMENGINE_GLOBALS):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r'(?:GLOBAL|Unsupported class) ([\w.]+)', str(error))
        if refused is None:
            raise ValueError(_unreadable(path, error)) from error
        if refused[1] in MMENGINE_GLOBALS:
            raise ValueError(f'{path}: to read a training checkpoint safely takes PyTorch 2.5 or newer') from error
        raise ValueError(
            f'{path} is refused: besides tensors it holds {refused[1]}, and loading that could run any code.\n'
            '  Ask its author for the bare state dict, as .pth or .safetensors. Only if you wrote the file yourself:\n'
            f'  {TRUSTING_TOOLS} read it with --trust, and run what it holds.'
        ) from error
    except (RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(_unreadable(path, error)) from error


def _unreadable(path: Any, error: Exception) -> str:
    reason = (str(error).splitlines() or [''])[0].split('. ')[0]
    return f'{path} is no checkpoint that PyTorch can read, or incomplete ({type(error).__name__}: {reason})'


@contextmanager
def _ignoring(names: tuple[str, ...]) -> Iterator[None]:
    """Let `torch.load` make an `Ignored` of these; older versions of PyTorch refuse them."""
    if not hasattr(torch.serialization, 'safe_globals'):
        yield
        return
    placeholders: list[Any] = []
    for name in names:
        module, _, qualname = name.rpartition('.')
        placeholders.append(type(qualname, (Ignored,), dict(__module__=module, __qualname__=qualname)))
    with torch.serialization.safe_globals(placeholders):
        yield
