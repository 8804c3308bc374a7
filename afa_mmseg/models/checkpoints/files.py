"""Conversion of checkpoint files."""

from pathlib import Path
from typing import Any, NamedTuple, Union

import torch
from torch import Tensor

from ...datasets import COCOImageLevelDataset, VOCImageLevelDataset
from ...utils import atomic_path, remove_leftovers
from ...utils.checkpoints import named, read_state
from ...version import __version__
from .architecture import Architecture
from .conversion import convert, recognise, to_afa
from .layouts import State

PathLike = Union[str, Path]


class Report(NamedTuple):
    """Summary of a conversion.

    Args:
        source: Layout of the source.
        architecture: Size of the backbone.
        is_segmentor: Whether the result is a whole segmentor rather than a backbone.
        num_read: Tensors in the source.
        num_written: Tensors in the result.
        left_out: Tensors of the source that our network lacks, with their purpose.
        is_new: Whether the file was written; otherwise it held the same weights already.
    """

    source: str
    architecture: Architecture
    is_segmentor: bool
    num_read: int
    num_written: int
    left_out: dict[str, str]
    is_new: bool


def convert_file(source: PathLike, out: PathLike, *, force: bool = False) -> Report:
    """Convert weights of another project to a checkpoint of our backbone, or of our segmentor.

    The result is `{'state_dict': ..., 'meta': ...}` of tensors and plain values. A file that holds the same
    weights is not rewritten.

    Args:
        source: Checkpoint, or a folder of Hugging Face's hub.
        out: File to write.
        force: Whether to replace a file that holds something else.

    Raises:
        ValueError: `source` is no checkpoint or does not fit; see `convert`.
        FileNotFoundError: `source` is not there.
        FileExistsError: `out` holds something else.
    """
    state = read_state(source)
    with named(source):
        layout, architecture, converted, left_out = convert(state)
    meta = dict(converted_from=layout.title, arch=architecture.preset or dict(architecture._asdict()))
    meta['afa_mmseg_version'] = __version__
    if layout.is_segmentor:
        meta.update(_dataset_meta(len(converted['decode_head.conv_seg.bias'])))
    is_new = _write(out, dict(state_dict=converted, meta=meta), converted, force)
    return Report(layout.title, architecture, layout.is_segmentor, len(state), len(converted), left_out, is_new)


def convert_file_to_afa(source: PathLike, out: PathLike, *, force: bool = False) -> Report:
    """Convert a checkpoint of our segmentor to one of AFA's, a bare state dict; see `convert_file`."""
    state = read_state(source)
    with named(source):
        converted = to_afa(state)
    is_new = _write(out, converted, converted, force)
    architecture = recognise(converted).architecture
    return Report('our segmentor', architecture, True, len(state), len(converted), {}, is_new)


def _write(out: PathLike, content: Any, state: State, force: bool) -> bool:
    """Write a checkpoint unless the file holds the same weights; return whether it was written."""
    out = Path(out)
    if out.is_dir():
        raise FileExistsError(f'{out} is a folder: name a file in it, such as {out / "weights.pth"}')
    if out.exists() and _holds(out, state):
        return False
    if out.exists() and not force:
        raise FileExistsError(f'{out} exists and holds something else: name another file, or replace it with --force')
    remove_leftovers(out.parent)
    with atomic_path(out) as temporary:
        save(content, temporary)
    return True


def save(content: Any, path: Path) -> None:
    """Write a checkpoint whose bytes depend on nothing but its content, the file's name neither."""
    with path.open('wb') as file:
        torch.save(content, file)


def _holds(path: Path, state: State) -> bool:
    try:
        present = read_state(path)
    except (ValueError, OSError):
        return False
    return present.keys() == state.keys() and all(_same(present[key], value) for key, value in state.items())


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


def _dataset_meta(num_classes: int) -> dict:
    """Classes and colours of the data set that has as many classes; nothing if there is none."""
    for dataset in (VOCImageLevelDataset, COCOImageLevelDataset):
        classes, palette = dataset.METAINFO['classes'], dataset.METAINFO['palette']
        if len(classes) == num_classes:
            return dict(dataset_meta=dict(classes=tuple(classes), palette=[list(colour) for colour in palette]))
    return {}
