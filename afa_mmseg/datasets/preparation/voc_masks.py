"""Masks of PASCAL VOC 2012 with SBD in one folder, `SegmentationClassAug`: VOC's own, and SBD's or those of a zip."""

import os
import zipfile
import zlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Optional, Union

import numpy as np
from PIL import Image

from ...utils import IGNORE_INDEX, atomic_path, read_mask, save_mask
from ...utils.checks import check_ids, first_few, import_extra, require_dir, require_file, require_files
from ..images import read_ids
from ..transforms.loading import check_mask
from ..voc import VOCImageLevelDataset

CLASSES, PALETTE = (VOCImageLevelDataset.METAINFO[key] for key in ('classes', 'palette'))
IMAGES, VOC_MASKS, FOLDER = 'JPEGImages', 'SegmentationClass', 'SegmentationClassAug'
SBD_SOURCE = 'SBD (benchmark.tgz), http://home.bharathh.info/pubs/codes/SBD/download.html'
SBD_REMEDY = f'Get {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz), and name the folder benchmark_RELEASE.'


def mask_ids(folder: Path) -> set[str]:
    """List the ids of the masks in a folder, which may be missing."""
    return {path.stem for path in folder.glob('*.png') if not path.name.startswith('.')}


def load_mask(root: Path, img_id: str, file: Union[Path, BinaryIO], name: str) -> np.ndarray:
    """Read a PNG mask (H, W) and check it against the image; `name` is for messages."""
    mask = read_mask(file, name)
    check_size_and_classes(root, img_id, mask, name)
    return mask


def check_size_and_classes(root: Path, img_id: str, mask: np.ndarray, name: str) -> None:
    """Raise a `ValueError` unless a mask has the size of its image, and holds classes of VOC or 255."""
    path = root / IMAGES / f'{img_id}.jpg'
    try:
        with Image.open(path) as image:
            size = (image.height, image.width)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f'image {path}: cannot be read ({error})') from error
    check_mask(mask, name, len(CLASSES), IGNORE_INDEX, size)


def write_mask(root: Path, source: Optional[Path], img_id: str) -> None:
    """Write the mask of an image to `SegmentationClassAug`: a copy of VOC's own, or else that of the source.

    Args:
        root: Folder VOC2012.
        source: SBD's folder `dataset`, or a zip.
        img_id: Of the image; VOC or the source has it.

    Raises:
        ValueError: The mask cannot be read, or does not fit its image.
    """
    own, target = root / VOC_MASKS / f'{img_id}.png', root / FOLDER / f'{img_id}.png'
    if source is not None and source.is_dir() and not own.is_file():
        path = source / 'cls' / f'{img_id}.mat'
        mask = read_sbd_mask(path)
        check_size_and_classes(root, img_id, mask, str(path))
        save_mask(mask, PALETTE, target)
        return
    data, name = (own.read_bytes(), str(own)) if source is None or own.is_file() else read_zip(source, img_id)
    load_mask(root, img_id, BytesIO(data), name)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


# SBD


def find_sbd(folder: Union[str, Path]) -> tuple[Path, set[str]]:
    """Return SBD's folder `dataset` and the ids that it lists, all of which have a file; `folder` is benchmark_RELEASE.

    Raises:
        FileNotFoundError: Files are missing.
    """
    import_extra('scipy.io', 'converters')
    require_dir(str(folder), 'SBD', SBD_REMEDY)
    data = Path(folder, 'dataset') if Path(folder, 'dataset').is_dir() else Path(folder)
    for split in ('train', 'val'):
        require_file(str(data / f'{split}.txt'), 'list of SBD', SBD_REMEDY)
    ids = {i for split in ('train', 'val') for i in read_ids(data / f'{split}.txt')}
    require_files(str(data / 'cls'), sorted(ids), '.mat', 'masks of SBD', SBD_REMEDY)
    return data, ids


def read_sbd_mask(path: Path) -> np.ndarray:
    """Read the classes of an SBD file (`cls/ID.mat`); SBD has no ignored outlines.

    Shape:
        output (H, W), uint8.
    """
    loadmat = import_extra('scipy.io', 'converters').loadmat
    try:
        mask = loadmat(str(path), variable_names=['GTcls'])['GTcls'][0, 0]['Segmentation']
        return np.ascontiguousarray(mask.astype(np.uint8, casting='no'))
    except Exception as error:  # scipy raises anything for broken files: OSError, TypeError, IndexError, ...
        raise ValueError(
            f'SBD mask {path}: cannot read GTcls.Segmentation ({error or type(error).__name__}); '
            "unpack it again from SBD's folder `cls`"
        ) from error


# Zip


def find_zip(path: Union[str, Path]) -> tuple[Path, set[str]]:
    """Return the zip and the ids of its entries `SegmentationClassAug/ID.png`; other entries stay in it."""
    require_file(str(path), 'zip of masks', 'Correct --aug-zip, or use --sbd.')
    _open_zip.cache_clear()
    return Path(path), set(_open_zip(Path(path), os.getpid())[1])


def read_zip(path: Path, img_id: str) -> tuple[bytes, str]:
    """Return the mask of an id as it is in the zip, and its name for messages."""
    archive, masks = _open_zip(path, os.getpid())
    name = f'{masks[img_id]} of {path}'
    try:
        return archive.read(masks[img_id]), name
    # RuntimeError: encrypted; NotImplementedError: a compression that zipfile does not support.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f'mask {name}: cannot be unpacked ({error}); fetch the zip again') from error


@lru_cache(maxsize=1)
def _open_zip(path: Path, process: int) -> tuple[zipfile.ZipFile, dict[str, str]]:
    """Open a zip and list its masks by id, once for each process: they cannot share an open file."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f'{path}: not a zip, or truncated ({error}); fetch it again') from error
    entries = [PurePosixPath(name) for name in archive.namelist() if '__MACOSX' not in name]
    masks = [e for e in entries if e.suffix == '.png' and e.parent.name == FOLDER and e.name[0] != '.']
    if not masks:
        raise ValueError(
            f'{path}: holds no {FOLDER}/ID.png, but {first_few([str(e) for e in entries])}.\n'
            f'  Name the zip of that folder, or pack it: zip -r {FOLDER}.zip {FOLDER}'
        )
    check_ids([e.stem for e in masks], str(path))
    return archive, {e.stem: str(e) for e in masks}
