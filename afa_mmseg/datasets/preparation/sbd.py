"""SBD, the Semantic Boundaries Dataset: masks of VOC's images as MATLAB files."""

import io
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Callable, Union

import numpy as np

from ...utils import save_mask
from ...utils.checks import require_dir, require_file, require_files
from ..voc import VOCImageLevelDataset
from .voc_masks import MaskSource, check_mask
from .voc_tree import SBD_SOURCE, VOCTree, read_ids

#: Bytes of a MATLAB 5 file before its first element, and the type of compressed elements.
HEADER, COMPRESSED = 128, 15


def sbd_source(tree: VOCTree, folder: Union[str, Path]) -> MaskSource:
    """Return the masks of the images that SBD lists.

    Args:
        tree: The VOC folder.
        folder: benchmark_RELEASE, or its subfolder `dataset`.

    Raises:
        FileNotFoundError: The folder, a list or masks are missing.
        ModuleNotFoundError: scipy is not installed.
    """
    _import_loadmat()
    remedy = f'Get {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz), and name the folder benchmark_RELEASE.'
    require_dir(str(folder), 'SBD', remedy)
    data = Path(folder, 'dataset') if Path(folder, 'dataset').is_dir() else Path(folder)
    ids: dict[str, None] = {}
    for split in ('train', 'val'):
        require_file(str(data / f'{split}.txt'), 'list of SBD', remedy)
        ids.update(dict.fromkeys(read_ids(data / f'{split}.txt')))
    require_files(str(data / 'cls'), list(ids), '.mat', 'masks of SBD', remedy)
    return MaskSource('SBD', frozenset(ids), partial(_convert_mask, tree, data / 'cls'))


def read_sbd_mask(path: Path) -> np.ndarray:
    """Read the classes of an SBD file (`cls/ID.mat`); SBD has no ignored outlines.

    Shape:
        output (H, W), uint8.

    Raises:
        ModuleNotFoundError: scipy is not installed.
        ValueError: The file cannot be read, or is not one of SBD.
    """
    loadmat = _import_loadmat()
    try:
        data = path.read_bytes()
        _check_whole(data)
        mask = loadmat(io.BytesIO(data), variable_names=['GTcls'])['GTcls'][0, 0]['Segmentation']
    except FileNotFoundError:
        raise
    except Exception as error:  # scipy raises anything for broken files: OSError, TypeError, IndexError, ...
        raise ValueError(
            f'SBD mask {path}: cannot read GTcls.Segmentation ({error or type(error).__name__}); '
            "unpack it again from SBD's folder `cls`"
        ) from error
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype != np.uint8:
        found = f'{mask.dtype} {mask.shape}' if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(f'SBD mask {path}: GTcls.Segmentation is {found}, not a uint8 matrix; unpack it again')
    return mask


def _check_whole(data: bytes) -> None:
    """Raise unless all elements of a MATLAB 5 file are complete: scipy crashes the process on some that are not."""
    order = {b'\x00\x01IM': '<', b'\x01\x00MI': '>'}.get(data[124:HEADER])
    if order is None:
        raise ValueError('not a MATLAB 5 file')
    start = HEADER
    while start < len(data):
        kind, size = struct.unpack(f'{order}II', data[start : start + 8])
        element = data[start + 8 : start + 8 + size]
        if len(element) < size:
            raise ValueError('truncated')
        if kind == COMPRESSED:
            zlib.decompress(element)
        start += 8 + size


def _convert_mask(tree: VOCTree, folder: Path, img_id: str) -> None:
    path = folder / f'{img_id}.mat'
    mask = read_sbd_mask(path)
    check_mask(mask, str(path), tree.image_size(img_id))
    save_mask(mask, VOCImageLevelDataset.METAINFO['palette'], tree.aug_masks / f'{img_id}.png')


def _import_loadmat() -> Callable[..., dict]:
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("SBD's .mat files require scipy: pip install scipy") from error
    return loadmat
