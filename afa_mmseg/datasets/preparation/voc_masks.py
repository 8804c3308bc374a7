"""`SegmentationClassAug` in a folder of PASCAL VOC 2012: masks of VOC itself, of SBD, or of a zip of that folder."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Callable, NamedTuple, Optional, Union

import numpy as np
from PIL import Image

from ...utils import atomic_path, read_mask, save_mask
from ...utils.checks import check_ids, first_few, require_dir, require_file, require_files
from ..images import read_ids
from ..transforms.loading import check_mask
from ..voc import VOCImageLevelDataset
from .collect import run_collecting

CLASSES, PALETTE = (VOCImageLevelDataset.METAINFO[key] for key in ('classes', 'palette'))
IGNORE_INDEX = 255
FOLDER = 'SegmentationClassAug'
SCRIPT = 'python tools/dataset_converters/prepare_voc.py'
VOC_SOURCE = 'VOC 2012 (VOCtrainval_11-May-2012.tar), http://host.robots.ox.ac.uk/pascal/VOC/voc2012/'
SBD_SOURCE = 'SBD (benchmark.tgz), http://home.bharathh.info/pubs/codes/SBD/download.html'


class VOCTree:
    """Paths in a VOC2012 folder.

    Args:
        folder: VOCdevkit, or VOC2012 itself.

    Raises:
        FileNotFoundError: The folder does not exist.
    """

    def __init__(self, folder: Union[str, Path]) -> None:
        require_dir(str(folder), 'VOC 2012', f'Get {VOC_SOURCE}, unpack it, and name its VOCdevkit folder.')
        inner = Path(folder, 'VOC2012')
        self.root = root = inner if inner.is_dir() else Path(folder)
        self.images, self.annotations = root / 'JPEGImages', root / 'Annotations'
        self.voc_masks, self.aug_masks = root / 'SegmentationClass', root / FOLDER
        self.labels, self.report = root / 'cls_labels.json', root / 'cls_labels_report.json'
        self.lists = root / 'ImageSets/Segmentation'

    def require(self, *paths: Path) -> None:
        """Raise a `FileNotFoundError` that lists all of `paths` that are missing, and their source."""
        missing = [str(path.relative_to(self.root)) for path in paths if not path.exists()]
        if missing:
            raise FileNotFoundError(
                f'{self.root} lacks {", ".join(missing)}, which {VOC_SOURCE} contains.\n'
                '  Unpack it so that VOCdevkit/VOC2012/JPEGImages exists, then run the same command again.\n'
                '  To convert a label file of another project, see tools/dataset_converters/convert_labels.py.'
            )

    def load_mask(self, img_id: str, file: Union[Path, BinaryIO], name: str) -> np.ndarray:
        """Read a PNG mask (H, W) and check it; `name` is for messages."""
        mask = read_mask(file, name)
        self.check_mask(img_id, mask, name)
        return mask

    def check_mask(self, img_id: str, mask: np.ndarray, name: str) -> None:
        """Raise a `ValueError` unless a mask has the size of its image, and holds classes of VOC or 255."""
        path = self.images / f'{img_id}.jpg'
        try:
            with Image.open(path) as image:
                size = (image.height, image.width)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f'image {path}: cannot be read ({error})') from error
        check_mask(mask, name, len(CLASSES), IGNORE_INDEX, size)


class MaskSource(NamedTuple):
    """A source of masks: its name, the ids that it has, and a function that writes the mask of an id."""

    name: str
    ids: frozenset[str]
    write: Callable[[str], None]


def voc_source(tree: VOCTree) -> MaskSource:
    """Return VOC's own masks, which are copied as they are."""
    return MaskSource(tree.voc_masks.name, mask_ids(tree.voc_masks), partial(_copy_mask, tree))


def zip_source(tree: VOCTree, path: Union[str, Path]) -> MaskSource:
    """Return the masks of a zip with entries `SegmentationClassAug/ID.png`; other entries stay in it."""
    path = Path(path)
    require_file(str(path), 'zip of masks', 'Correct --aug-zip, or use --sbd.')
    names = _open_zip(path, os.getpid(), path.stat().st_mtime_ns)[1]
    return MaskSource(path.name, frozenset(names), partial(_extract_mask, tree, path))


def sbd_source(tree: VOCTree, folder: Union[str, Path]) -> MaskSource:
    """Return the masks of the images that SBD lists; `folder` is benchmark_RELEASE, or its subfolder `dataset`."""
    _import_loadmat()
    remedy = f'Get {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz), and name the folder benchmark_RELEASE.'
    require_dir(str(folder), 'SBD', remedy)
    data = Path(folder, 'dataset') if Path(folder, 'dataset').is_dir() else Path(folder)
    for split in ('train', 'val'):
        require_file(str(data / f'{split}.txt'), 'list of SBD', remedy)
    ids = frozenset(i for split in ('train', 'val') for i in read_ids(data / f'{split}.txt'))
    require_files(str(data / 'cls'), sorted(ids), '.mat', 'masks of SBD', remedy)
    return MaskSource('SBD', ids, partial(_convert_mask, tree, data / 'cls'))


def make_masks(
    tree: VOCTree, ids: Sequence[str], sources: Sequence[MaskSource], num_workers: Optional[int] = None
) -> dict[str, int]:
    """Write the masks that `SegmentationClassAug` lacks, each from the first source that has it.

    Returns:
        Number of masks written by name of the source.
    """
    todo, written = sorted(set(ids) - mask_ids(tree.aug_masks)), {}
    for source in sources:
        chosen = [i for i in todo if i in source.ids]
        todo = [i for i in todo if i not in source.ids]
        if chosen:
            run_collecting(source.write, chosen, f'Masks from {source.name}', num_workers)
            written[source.name] = len(chosen)
    return written


def mask_ids(folder: Path) -> frozenset[str]:
    """List the ids of the masks in a folder, which may be missing."""
    return frozenset(path.stem for path in folder.glob('*.png') if not path.name.startswith('.'))


def describe_sources(tree: VOCTree) -> str:
    """Describe how to get the masks."""
    return (
        f'Download {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz), then:\n'
        f'    {SCRIPT} {tree.root} --sbd benchmark_RELEASE\n'
        '  or, with the masks as a zip that others made of it:\n'
        f'    {SCRIPT} {tree.root} --aug-zip {FOLDER}.zip'
    )


def read_sbd_mask(path: Path) -> np.ndarray:
    """Read the classes of an SBD file (`cls/ID.mat`); SBD has no ignored outlines.

    Shape:
        output (H, W), uint8.
    """
    loadmat = _import_loadmat()
    try:
        mask = loadmat(str(path), variable_names=['GTcls'])['GTcls'][0, 0]['Segmentation']
        return np.ascontiguousarray(mask.astype(np.uint8, casting='no'))
    except Exception as error:  # scipy raises anything for broken files: OSError, TypeError, IndexError, ...
        raise ValueError(
            f'SBD mask {path}: cannot read GTcls.Segmentation ({error or type(error).__name__}); '
            "unpack it again from SBD's folder `cls`"
        ) from error


def _import_loadmat() -> Callable[..., dict]:
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("SBD's .mat files require scipy: pip install scipy") from error
    return loadmat


def _convert_mask(tree: VOCTree, folder: Path, img_id: str) -> None:
    path = folder / f'{img_id}.mat'
    mask = read_sbd_mask(path)
    tree.check_mask(img_id, mask, str(path))
    save_mask(mask, PALETTE, tree.aug_masks / f'{img_id}.png')


def _copy_mask(tree: VOCTree, img_id: str) -> None:
    source = tree.voc_masks / f'{img_id}.png'
    tree.load_mask(img_id, source, str(source))
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
    tree.load_mask(img_id, BytesIO(data), name)
    with atomic_path(tree.aug_masks / f'{img_id}.png') as temporary:
        temporary.write_bytes(data)
