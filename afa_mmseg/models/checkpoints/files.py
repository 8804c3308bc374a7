"""Conversion of checkpoint files."""

from pathlib import Path
from typing import Any, Union

import torch

from ...datasets import COCOImageLevelDataset, VOCImageLevelDataset
from ...utils import atomic_path, remove_leftovers
from ...utils.checkpoints import named, read_state
from ...version import __version__
from .conversion import Weights, convert, recognise, to_afa

PathLike = Union[str, Path]


def convert_file(source: PathLike, out: PathLike, *, force: bool = False) -> Weights:
    """Convert weights of another project to a checkpoint of our backbone, or of our segmentor.

    The result is `{'state_dict': ..., 'meta': ...}` of tensors and plain values.

    Args:
        source: Checkpoint, or a folder of Hugging Face's hub.
        out: File to write.
        force: Whether to replace an existing file.

    Raises:
        ValueError: `source` is no checkpoint or does not fit; see `convert`.
        FileNotFoundError: `source` is not there.
        FileExistsError: `out` exists.
    """
    state = read_state(source)
    with named(source):
        weights = convert(state)
    layout, architecture, converted, _ = weights
    meta = dict(converted_from=layout.title, arch=architecture.preset or dict(architecture._asdict()))
    meta['afa_mmseg_version'] = __version__
    if layout.is_segmentor:
        meta.update(_dataset_meta(len(converted['decode_head.conv_seg.bias'])))
    write_weights(out, dict(state_dict=converted, meta=meta), force)
    return weights


def convert_file_to_afa(source: PathLike, out: PathLike, *, force: bool = False) -> Weights:
    """Convert a checkpoint of our segmentor to one of AFA's, a bare state dict; see `convert_file`."""
    state = read_state(source)
    with named(source):
        converted = to_afa(state)
    write_weights(out, converted, force)
    return recognise(converted)


def write_weights(out: PathLike, content: Any, force: bool) -> None:
    """Write converted weights, whole or not at all.

    Raises:
        FileExistsError: `out` exists, and may not be replaced (`force`), or is a folder.
    """
    out = Path(out)
    if out.is_dir() or (out.exists() and not force):
        raise FileExistsError(f'{out} exists: name another file, or replace a file with --force')
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out.parent)
    with atomic_path(out) as temporary:
        save(content, temporary)


def save(content: Any, path: Path) -> None:
    """Write a checkpoint whose bytes depend on nothing but its content, the file's name neither."""
    with path.open('wb') as file:
        torch.save(content, file)


def _dataset_meta(num_classes: int) -> dict:
    """Classes and colours of the data set that has as many classes; nothing if there is none."""
    for dataset in (VOCImageLevelDataset, COCOImageLevelDataset):
        classes, palette = dataset.METAINFO['classes'], dataset.METAINFO['palette']
        if len(classes) == num_classes:
            return dict(dataset_meta=dict(classes=tuple(classes), palette=[list(colour) for colour in palette]))
    return {}
