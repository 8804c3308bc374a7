"""`SegmentationClassAug`: the masks of VOC itself, and those of SBD for the other pictures."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Callable, Optional, Union

import numpy as np

from ...utils import atomic_path, read_mask
from ...utils.checks import first_few
from ..voc import VOCImageLevelDataset
from .collect import run_collecting
from .voc_tree import SBD_SOURCE, SCRIPT, VOCTree, picture_size

IGNORE_INDEX = 255
NUM_CLASSES = len(VOCImageLevelDataset.METAINFO['classes'])


@dataclass(frozen=True)
class MaskSource:
    """Where masks come from.

    Args:
        name: How to call it, such as `SBD`.
        ids: Pictures whose masks it has.
        write: Writes the mask of an id to `SegmentationClassAug`; a `functools.partial` of a top-level function.
    """

    name: str
    ids: frozenset[str]
    write: Callable[[str], None]


def make_masks(
    tree: VOCTree, ids: Sequence[str], sources: Sequence[MaskSource], num_workers: Optional[int] = None
) -> dict[str, int]:
    """Write the masks that `SegmentationClassAug` lacks, each from the first source that has it.

    Args:
        tree: The VOC folder.
        ids: Pictures that need a mask.
        sources: Where to take masks from, best first.
        num_workers: Processes; 0: none but this one.

    Returns:
        Number of masks written by name of the source.

    Raises:
        ValueError: Masks are broken.
    """
    todo, written = missing_masks(tree, ids), {}
    for source in sources:
        chosen = [i for i in todo if i in source.ids]
        todo = [i for i in todo if i not in source.ids]
        if chosen:
            run_collecting(source.write, chosen, f'Masks from {source.name}', num_workers)
            written[source.name] = len(chosen)
    return written


def check_sources(tree: VOCTree, ids: Sequence[str], sources: Sequence[MaskSource]) -> None:
    """Raise a `FileNotFoundError` if neither `SegmentationClassAug` nor a source has the mask of an id."""
    missing = [i for i in missing_masks(tree, ids) if not any(i in source.ids for source in sources)]
    if not missing:
        return
    asked = ', '.join([tree.aug_masks.name, *(source.name for source in sources)])
    raise FileNotFoundError(
        f'{len(missing)} of {len(ids)} ids of train_aug and val have no mask in {asked}: {first_few(missing)}\n'
        f'  {get_masks(tree)}\n  If you have done so, the download is incomplete: fetch it again.'
    )


def get_masks(tree: VOCTree) -> str:
    """Say how to get the masks."""
    return (
        f'Download {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz), then:\n'
        f'    {SCRIPT} {tree.root} --sbd benchmark_RELEASE\n'
        '  or, with the masks as a zip that others made of it:\n'
        f'    {SCRIPT} {tree.root} --aug-zip SegmentationClassAug.zip'
    )


def missing_masks(tree: VOCTree, ids: Sequence[str]) -> list[str]:
    """List the ids without a file in `SegmentationClassAug`."""
    present = mask_ids(tree.aug_masks)
    return [i for i in ids if i not in present]


def mask_ids(folder: Path) -> frozenset[str]:
    """List the ids of the masks in a folder that may not be there."""
    return frozenset(path.stem for path in folder.glob('*.png') if not path.name.startswith('.'))


def voc_source(tree: VOCTree) -> MaskSource:
    """VOC's own masks, taken as they are."""
    return MaskSource(tree.voc_masks.name, mask_ids(tree.voc_masks), partial(_copy_mask, tree))


def load_mask(
    file: Union[Path, BinaryIO], name: str, size: tuple[int, int], num_classes: int = NUM_CLASSES
) -> np.ndarray:
    """Read a mask and check its size and its values.

    Args:
        file: PNG, by its path or opened.
        name: How messages call it.
        size: Width and height that it has to have: those of its picture.
        num_classes: Classes with the background.

    Shape:
        output (H, W), uint8.

    Raises:
        ValueError: The mask cannot be read or does not fit.
    """
    check_size(picture_size(file, f'mask {name}'), name, size)
    mask = read_mask(file, name)
    check_values(mask, name, num_classes)
    return mask


def check_size(found: tuple[int, int], name: str, size: tuple[int, int]) -> None:
    """Raise a `ValueError` unless a mask, (width, height), is as large as its picture."""
    if found != size:
        raise ValueError(
            f'mask {name}: is {found[0]} x {found[1]} pixels, its picture {size[0]} x {size[1]}; '
            'it is of another picture or was resized: fetch or make it again'
        )


def check_values(mask: np.ndarray, name: str, num_classes: int = NUM_CLASSES) -> None:
    """Raise a `ValueError` for pixels that are neither a class nor ignored."""
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=1))
    wrong = [int(value) for value in values if value >= num_classes and value != IGNORE_INDEX]
    if wrong:
        raise ValueError(
            f'mask {name}: holds the values {str(wrong[:5])[1:-1]}; classes are 0 to {num_classes - 1}, '
            f'{IGNORE_INDEX} is ignored: fetch or make it again'
        )


def _copy_mask(tree: VOCTree, img_id: str) -> None:
    source = tree.voc_masks / f'{img_id}.png'
    load_mask(source, str(source), tree.picture_size(img_id))
    with atomic_path(tree.aug_masks / source.name) as temporary:
        shutil.copyfile(source, temporary)
