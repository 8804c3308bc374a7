"""Checkpoint reading that runs no code: `torch.load(weights_only=True)`, safetensors, a check for damaged files."""

import os
import os.path as osp
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import Tensor

from .checks import first_few, import_extra

PathLike = Union[str, Path]
#: Read by `torch.load` at each call: `weights_only=True` even where the caller passes False, as mmengine does.
FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
#: Files that hold the weights in a folder of Hugging Face's hub, the first that is there.
SNAPSHOT_FILES = ('model.safetensors', 'pytorch_model.bin')
#: What reading a damaged file raises, by the part that is damaged.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, OverflowError, UnicodeError,
)  # fmt: skip


def _statistic(kind: Any, name: str) -> Any:
    """Stand in for `getattr`, which mmengine's logs are pickled with: return a method of `HistoryBuffer`."""
    if kind is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'Unsupported class getattr({kind!r}, {name!r})')
    return getattr(kind, name)


_statistic.__module__, _statistic.__name__, _statistic.__qualname__ = 'builtins', 'getattr', 'getattr'
_multiarray = np.ones(1).__reduce__()[0].__module__  # `numpy._core.multiarray`, or `numpy.core.multiarray` before 2.0
_core = __import__(_multiarray, fromlist=['scalar'])
#: What mmengine's training checkpoints hold besides tensors and plain values.
SAFE_GLOBALS = [
    HistoryBuffer, _statistic, np.ndarray, np.dtype, _core._reconstruct, _core.scalar,  # names that NumPy pickles
    *{type(np.dtype(code)) for code in '?bBhHiIlLqQefd'},
]  # fmt: skip


def _allow_safe_globals() -> Any:
    """Allow `SAFE_GLOBALS` inside a `with` block; PyTorch before 2.5 refuses them in any case."""
    allow = getattr(torch.serialization, 'safe_globals', None)
    return nullcontext() if allow is None else allow(SAFE_GLOBALS)


def use_strict_loading() -> None:
    """Have `torch.load`, and so mmengine, refuse in this process every checkpoint that could run code."""
    os.environ[FORCE] = '1'
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(SAFE_GLOBALS)
    CheckpointLoader.register_scheme('', _load_from_local, force=True)  # for the error message


@contextmanager
def strict_loading() -> Iterator[None]:
    """Have `torch.load` refuse, inside a `with` block, every checkpoint that could run code."""
    before = os.environ.get(FORCE)
    os.environ[FORCE] = '1'
    try:
        with _allow_safe_globals():
            yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before


def _load_from_local(filename: str, map_location: Any = None) -> Any:
    return read_checkpoint(osp.expanduser(filename), map_location or 'cpu')


def read_checkpoint(path: PathLike, map_location: Any = 'cpu') -> Any:
    """Read the tensors and plain values of a checkpoint.

    Args:
        path: Checkpoint (`.pth`, `.pt`, `.bin`), `.safetensors` file, or a folder of Hugging Face's hub.
        map_location: Device of the tensors, as for `torch.load`.

    Raises:
        FileNotFoundError: There is no such file, or the folder holds none.
        ValueError: The file is no checkpoint, is damaged, or holds objects whose loading could run code.
        ModuleNotFoundError: `safetensors` is required and not installed.
    """
    path = checkpoint_file(Path(path))
    with path.open('rb') as file:
        start = file.read(256)
    if start.startswith(b'version https://git-lfs'):
        raise ValueError(f'{path} is a pointer of Git LFS, not the weights: fetch them with `git lfs pull`')
    if start.lstrip()[:1] == b'<':
        raise ValueError(f'{path} is a web page, not a checkpoint: download the file that the page offers')
    return _read_safetensors(path) if path.suffix == '.safetensors' else _read_torch(path, map_location)


def read_state(source: PathLike) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint, from a file or from a URL that mmengine supports; see `state_of`."""
    if '://' in str(source):
        checkpoint = CheckpointLoader.load_checkpoint(str(source), map_location='cpu', logger='silent')
    else:
        checkpoint = read_checkpoint(source)
    with named(source):
        return state_of(checkpoint)


def state_of(checkpoint: Any) -> dict[str, Tensor]:
    """Return the state dict in the content of a checkpoint.

    Raises:
        ValueError: There is none, or it holds something else than tensors.
    """
    if isinstance(checkpoint, dict):
        checkpoint = checkpoint.get('state_dict', checkpoint.get('model', checkpoint))  # mmengine's key, or DeiT's
    if not isinstance(checkpoint, dict):
        raise ValueError(f'no state dict: the file holds a {type(checkpoint).__name__}')
    strange = [str(key) for key, value in checkpoint.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(f'no state dict: these are no tensors: {first_few(strange)}')
    return dict(checkpoint)


def find_damage(path: PathLike) -> Optional[str]:
    """Return what is wrong with a checkpoint after reading all of it and its checksums, or None.

    Raises:
        OSError: The file cannot be opened.
    """
    with open(path, 'rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                torn = archive.testzip()
            if torn is not None:
                return f'its checksum does not match in {torn}'
            read_checkpoint(path)
        except DAMAGE as error:
            return f'incomplete or no checkpoint ({error})'
        except ValueError as error:
            return str(error)
    return None


@contextmanager
def named(path: PathLike) -> Iterator[None]:
    """Put the name of the file before the message of a `ValueError`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def checkpoint_file(path: Path) -> Path:
    """Return the file itself, or the one that holds the weights in a folder of Hugging Face's hub."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f'checkpoint not found: {path}')
    for name in SNAPSHOT_FILES:
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(f'{path} is a folder without {" or ".join(SNAPSHOT_FILES)}: name the checkpoint itself')


def _read_safetensors(path: Path) -> dict[str, dict[str, Tensor]]:
    package, reader = (import_extra(name, 'hub') for name in ('safetensors', 'safetensors.torch'))
    try:
        return dict(state_dict=reader.load_file(path))  # as mmengine's hooks expect it
    except package.SafetensorError as error:
        raise ValueError(f'{path} is no safetensors file, or incomplete: {error}') from error


def _read_torch(path: Path, map_location: Any) -> Any:
    try:
        with _allow_safe_globals():
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r'(?:GLOBAL|Unsupported class) ([\w.]+)', str(error))
        if refused is None:
            raise ValueError(_unreadable(path, error)) from error
        raise ValueError(
            f'{path} is refused: it holds {refused[1]}, and loading that could run code.\n'
            '  Ask its author for the bare state dict. Only if you wrote the file yourself, save that alone:\n'
            "  torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW_FILE)"
        ) from error
    except (RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    reason = (str(error).splitlines() or [''])[0].split('. ')[0]
    return f'{path} is no checkpoint that PyTorch can read, or incomplete ({type(error).__name__}: {reason})'
