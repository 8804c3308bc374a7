"""Publishing of training checkpoints: weights, classes and config, without optimiser and logs."""

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Union

import torch

from ...utils import atomic_path, remove_leftovers
from ...utils.checkpoints import named, read_checkpoint, state_of
from ...utils.checks import first_few
from ...version import __version__

#: Keys kept of a checkpoint's `meta`.
META = ('dataset_meta', 'cfg', 'experiment_name', 'iter', 'epoch', 'seed', 'time', 'mmengine_version')
REQUIRED = ('dataset_meta', 'cfg')
SUFFIX = '.pth'


class Published(NamedTuple):
    """A published checkpoint.

    Args:
        path: File.
        bytes_before: Size of the training checkpoint.
        bytes_after: Size of the file.
        left_out: Other content of the training checkpoint.
        is_averaged: Whether the weights are the moving average of training (EMA).
        is_new: Whether the file was written; otherwise it was there already.
    """

    path: Path
    bytes_before: int
    bytes_after: int
    left_out: list[str]
    is_averaged: bool
    is_new: bool


def publish(checkpoint: Union[str, Path], out: Union[str, Path]) -> Published:
    """Write the weights of a training checkpoint, its classes and its config, and name the file by its content.

    The weights are those that validation used: with an `EMAHook` mmengine saves their average as `state_dict`
    and the ones being trained as `ema_state_dict`.

    Args:
        checkpoint: Written by training.
        out: Folder, where the file is named after the experiment; or a name that ends in `.pth`, to which the
            first eight digits of the file's SHA-256 are added.

    Raises:
        FileNotFoundError: `checkpoint` is not there.
        ValueError: `checkpoint` is not one of training, or its `meta` holds more than plain values.
    """
    source = Path(checkpoint)
    content = read_checkpoint(source)
    with named(source):
        state = state_of(content)
        meta = _published_meta(content)
    data = io.BytesIO()
    # Clones: a view would bring the whole of what it shows a part of.
    torch.save(dict(state_dict={key: value.detach().clone() for key, value in state.items()}, meta=meta), data)
    path = _name(Path(out), str(meta.get('experiment_name', source.stem)), data.getbuffer())
    return Published(
        path=path,
        bytes_before=source.stat().st_size,
        bytes_after=data.getbuffer().nbytes,
        left_out=[
            *(key for key in content if key not in ('state_dict', 'meta')),
            *(f'meta.{key}' for key in content['meta'] if key not in meta),
        ],
        is_averaged=meta['is_averaged'],
        is_new=_write(path, data.getbuffer()),
    )


def _published_meta(content: dict) -> dict[str, Any]:
    meta = content.get('meta')
    if not isinstance(meta, dict) or any(key not in meta for key in REQUIRED):
        raise ValueError(
            f'not a checkpoint of a training run: no {" and ".join(f"`{key}`" for key in REQUIRED)} in its `meta`.\n'
            '  Use the .pth that `tools/train.py` wrote to its work directory.'
        )
    kept = {key: meta[key] for key in META if key in meta}
    strange = [f'meta.{key}' for key, value in kept.items() if not _is_plain(value)]
    if strange:
        raise ValueError(f'{first_few(strange)} holds more than plain values, which a published file must not')
    is_averaged = 'ema_state_dict' in content or bool(meta.get('is_averaged'))
    return {**kept, 'is_averaged': is_averaged, 'afa_mmseg_version': str(meta.get('afa_mmseg_version', __version__))}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _is_plain(list(value)) and _is_plain(list(value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))


def _name(out: Path, experiment: str, data: memoryview) -> Path:
    digest = hashlib.sha256(data).hexdigest()[:8]
    if out.suffix == SUFFIX:
        return out.with_name(f'{out.stem}-{digest}{SUFFIX}')
    return out / f'{re.sub(r"[^A-Za-z0-9_.-]", "_", experiment)}-{digest}{SUFFIX}'


def _write(path: Path, data: memoryview) -> bool:
    """Write a file unless it holds the same already; return whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    if path.parent.is_dir():
        remove_leftovers(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return True
