"""SBD, the Semantic Boundaries Dataset: masks of VOC's pictures as MATLAB files."""

import io
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Callable, Union

import numpy as np

from ...utils import save_mask
from ...utils.checks import require_dir, require_file, require_files
from ..voc import VOCImageLevelDataset
from .voc_masks import MaskSource, check_size, check_values
from .voc_tree import SBD_SOURCE, VOCTree, read_ids

SPLITS = ('train', 'val')
#: Bytes of a MATLAB 5 file before its first part, and the type of compressed parts.
HEADER, COMPRESSED = 128, 15


def open_sbd(tree: VOCTree, folder: Union[str, Path]) -> tuple[MaskSource, list[str]]:
    """Find the masks of SBD's pictures.

    Args:
        tree: The VOC folder.
        folder: benchmark_RELEASE, or its subfolder `dataset`.

    Returns:
        The masks of the pictures that SBD lists, and the names of other files beside them.

    Raises:
        FileNotFoundError: The folder, a list or masks are missing.
        ModuleNotFoundError: scipy is not installed.
    """
    _import_loadmat()
    folder = Path(folder)
    remedy = f'Get {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz), and name the folder benchmark_RELEASE.'
    require_dir(str(folder), 'SBD', remedy)
    data = folder / 'dataset' if (folder / 'dataset').is_dir() else folder
    ids = _list_ids(data, remedy)
    require_files(str(data / 'cls'), ids, '.mat', 'masks of SBD', remedy)
    others = sorted({path.name for path in (data / 'cls').iterdir()} - {f'{i}.mat' for i in ids})
    return MaskSource('SBD', frozenset(ids), partial(_convert_mask, tree, data / 'cls')), others


def read_sbd_mask(path: Path) -> np.ndarray:
    """Read the classes of each pixel from an SBD file (`cls/ID.mat`); there is no ignored outline.

    Shape:
        output (H, W), uint8.

    Raises:
        ModuleNotFoundError: scipy is not installed.
        ValueError: The file cannot be read, or is none of SBD's.
    """
    loadmat = _import_loadmat()
    try:
        data = path.read_bytes()
        _check_whole(data)
        content = loadmat(io.BytesIO(data), variable_names=['GTcls'])
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever scipy trips over in broken files: OSError, TypeError, IndexError, ...
        reason = str(error) or type(error).__name__
        raise ValueError(f'SBD mask {path}: cannot be read ({reason}); unpack it again') from error
    try:
        mask = content['GTcls'][0, 0]['Segmentation']
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"SBD mask {path}: holds no GTcls with a field 'Segmentation'; take the files of SBD's folder `cls`"
        ) from error
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype != np.uint8:
        found = f'{mask.dtype} {mask.shape}' if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(f'SBD mask {path}: GTcls.Segmentation is {found}, not a uint8 matrix; unpack it again')
    return mask


def _check_whole(data: bytes) -> None:
    """Raise unless all parts of a MATLAB 5 file are whole: on some that are not, scipy ends the whole process."""
    order = {b'\x00\x01IM': '<', b'\x01\x00MI': '>'}.get(data[124:HEADER])
    if order is None:
        raise ValueError('no MATLAB 5 file')
    start = HEADER
    while start < len(data):
        if start + 8 > len(data):
            raise ValueError('truncated')
        kind, size = struct.unpack_from(f'{order}II', data, start)
        start += 8 + size
        if start > len(data):
            raise ValueError('truncated')
        if kind == COMPRESSED:
            zlib.decompress(data[start - size : start])


def _list_ids(data: Path, remedy: str) -> Sequence[str]:
    ids: dict = {}
    for split in SPLITS:
        require_file(str(data / f'{split}.txt'), 'list of SBD', remedy)
        ids.update(dict.fromkeys(read_ids(data / f'{split}.txt')))
    return list(ids)


def _convert_mask(tree: VOCTree, folder: Path, img_id: str) -> None:
    path = folder / f'{img_id}.mat'
    mask = read_sbd_mask(path)
    check_size(mask.shape[::-1], str(path), tree.picture_size(img_id))
    check_values(mask, str(path))
    save_mask(mask, VOCImageLevelDataset.METAINFO['palette'], tree.aug_masks / f'{img_id}.png')


def _import_loadmat() -> Callable[..., dict]:
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "SBD's .mat files are read by scipy, which is not installed: pip install scipy"
        ) from error
    return loadmat
