"""`SegmentationClassAug`: masks of VOC itself, of SBD, or of a zip of that folder."""

import os
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Callable, Optional, Union

import numpy as np

from ...utils import atomic_path, read_mask
from ...utils.checks import check_ids, first_few, require_file
from ..voc import VOCImageLevelDataset
from .collect import run_collecting
from .voc_tree import SBD_SOURCE, SCRIPT, VOCTree

IGNORE_INDEX = 255
NUM_CLASSES = len(VOCImageLevelDataset.METAINFO['classes'])
FOLDER = 'SegmentationClassAug'


@dataclass(frozen=True)
class MaskSource:
    """A source of masks.

    Args:
        name: Its name in messages, such as `SBD`.
        ids: Images whose masks it has.
        write: Writes the mask of an id to `SegmentationClassAug`; a `functools.partial` of a top-level function.
    """

    name: str
    ids: frozenset[str]
    write: Callable[[str], None]


def voc_source(tree: VOCTree) -> MaskSource:
    """Return VOC's own masks, which are copied as they are."""
    return MaskSource(tree.voc_masks.name, mask_ids(tree.voc_masks), partial(_copy_mask, tree))


def zip_source(tree: VOCTree, path: Union[str, Path]) -> MaskSource:
    """Return the masks of a zip with entries `SegmentationClassAug/ID.png`; other entries stay in it.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a whole zip, or holds no masks, one twice, or one whose name leaves its folder.
    """
    path = Path(path)
    require_file(str(path), 'zip of masks', 'Correct --aug-zip, or use --sbd.')
    names = _open_zip(path, os.getpid(), path.stat().st_mtime_ns)[1]
    return MaskSource(path.name, frozenset(names), partial(_extract_mask, tree, path))


def mask_ids(folder: Path) -> frozenset[str]:
    """List the ids of the masks in a folder, which may be missing."""
    return frozenset(path.stem for path in folder.glob('*.png') if not path.name.startswith('.'))


def missing_masks(tree: VOCTree, ids: Sequence[str]) -> list[str]:
    """List the ids without a file in `SegmentationClassAug`."""
    present = mask_ids(tree.aug_masks)
    return [i for i in ids if i not in present]


def check_sources(tree: VOCTree, ids: Sequence[str], sources: Sequence[MaskSource]) -> None:
    """Raise a `FileNotFoundError` if neither `SegmentationClassAug` nor a source has the mask of an id."""
    missing = [i for i in missing_masks(tree, ids) if not any(i in source.ids for source in sources)]
    if missing:
        names = ', '.join([FOLDER, *(source.name for source in sources)])
        raise FileNotFoundError(
            f'{len(missing)} of {len(ids)} ids of train_aug and val have no mask in {names}: {first_few(missing)}\n'
            f'  {describe_sources(tree)}\n  If you have done so, the download is incomplete: fetch it again.'
        )


def make_masks(
    tree: VOCTree, ids: Sequence[str], sources: Sequence[MaskSource], num_workers: Optional[int] = None
) -> dict[str, int]:
    """Write the masks that `SegmentationClassAug` lacks, each from the first source that has it.

    Args:
        tree: The VOC folder.
        ids: Images that need a mask.
        sources: Sources, best first.
        num_workers: Processes; 0: only this one.

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


def describe_sources(tree: VOCTree) -> str:
    """Describe how to get the masks."""
    return (
        f'Download {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz), then:\n'
        f'    {SCRIPT} {tree.root} --sbd benchmark_RELEASE\n'
        '  or, with the masks as a zip that others made of it:\n'
        f'    {SCRIPT} {tree.root} --aug-zip SegmentationClassAug.zip'
    )


def load_mask(file: Union[Path, BinaryIO], name: str, size: tuple[int, int]) -> np.ndarray:
    """Read a mask and check it.

    Args:
        file: PNG, by its path or opened.
        name: Name in messages.
        size: Height and width of its image.

    Shape:
        output (H, W), uint8.

    Raises:
        ValueError: The mask cannot be read or does not fit.
    """
    mask = read_mask(file, name)
    check_mask(mask, name, size)
    return mask


def check_mask(mask: np.ndarray, name: str, size: tuple[int, int]) -> None:
    """Raise a `ValueError` unless a mask has this height and width, and holds classes of VOC or 255."""
    if mask.shape != size:
        raise ValueError(
            f'mask {name}: has {mask.shape[1]} x {mask.shape[0]} pixels, its image {size[1]} x {size[0]}; '
            'it is of another image or was resized: fetch or make it again'
        )
    wrong = [int(v) for v in np.unique(mask) if v >= NUM_CLASSES and v != IGNORE_INDEX]
    if wrong:
        raise ValueError(
            f'mask {name}: holds the values {first_few(wrong)}; classes are 0 to {NUM_CLASSES - 1}, '
            f'{IGNORE_INDEX} is ignored: fetch or make it again'
        )


def _copy_mask(tree: VOCTree, img_id: str) -> None:
    source = tree.voc_masks / f'{img_id}.png'
    load_mask(source, str(source), tree.image_size(img_id))
    with atomic_path(tree.aug_masks / source.name) as temporary:
        shutil.copyfile(source, temporary)


@lru_cache(maxsize=1)
def _open_zip(path: Path, *stamp: int) -> tuple[zipfile.ZipFile, dict[str, str]]:
    """Open a zip and list its masks by id, once for each process and each state (`stamp`) of the file."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f'{path}: not a zip, or truncated ({error}); fetch it again') from error
    entries = [PurePosixPath(name) for name in archive.namelist()]
    masks = [e for e in entries if e.suffix == '.png' and e.parent.name == FOLDER and e.name[0] != '.']
    masks = [e for e in masks if '__MACOSX' not in e.parts]
    if not masks:
        raise ValueError(
            f'{path}: holds no {FOLDER}/ID.png, but {first_few([str(e) for e in entries])}.\n'
            f'  Name the zip of that folder, or pack it: zip -r {FOLDER}.zip {FOLDER}'
        )
    twice = [i for i, count in Counter(e.stem for e in masks).items() if count > 1]
    if twice:
        raise ValueError(f'{path}: holds masks of the same id twice: {first_few(twice)}; keep one of each')
    check_ids([e.stem for e in masks], str(path))
    return archive, {e.stem: str(e) for e in masks}


def _extract_mask(tree: VOCTree, path: Path, img_id: str) -> None:
    archive, masks = _open_zip(path, os.getpid(), path.stat().st_mtime_ns)
    name = f'{masks[img_id]} of {path}'
    try:
        data = archive.read(masks[img_id])
    # RuntimeError: encrypted; NotImplementedError: a compression that zipfile does not support.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f'mask {name}: cannot be unpacked ({error}); fetch the zip again') from error
    load_mask(BytesIO(data), name, tree.image_size(img_id))
    with atomic_path(tree.aug_masks / f'{img_id}.png') as temporary:
        temporary.write_bytes(data)
