"""What is in the file of a picture and in that of its mask."""

import hashlib
import io
import warnings
from typing import NamedTuple, Optional

import mmcv
import numpy as np
from mmengine import fileio
from PIL import Image

from ...utils import read_mask
from ..transforms.loading import AS_SHOWN, AS_STORED
from ..transforms.masks import turn_upright

#: EXIF tag 'Orientation'; 1 is upright.
ORIENTATION = 0x0112
#: Pillow turns these upright by itself, as OpenCV does.
TURNED_BY_ALL = ('TIFF',)


class Job(NamedTuple):
    """Files to look at."""

    picture: str
    mask: Optional[str] = None
    exif_orientation: bool = True


class PictureFacts(NamedTuple):
    """What the files of a picture hold.

    Args:
        error: Why the picture cannot be read; empty if it can.
        size: Height and width as training sees it, turned as EXIF says unless the data set reads stored pixels.
        stored: Height and width of the file's pixels.
        orientation: EXIF orientation, 1 to 8; 1 where it is ignored.
        digest: Hash of the pixels as training sees them.
        mask_error: Why the mask cannot be read.
        mask_size: Height and width of the mask, if there is one.
        mask_values: Values that occur in it.
    """

    error: str = ''
    size: tuple[int, int] = (0, 0)
    stored: tuple[int, int] = (0, 0)
    orientation: int = 1
    digest: str = ''
    mask_error: str = ''
    mask_size: Optional[tuple[int, int]] = None
    mask_values: tuple[int, ...] = ()


def look_at(job: Job, backend_args: Optional[dict] = None) -> PictureFacts:
    """Decode a picture and its mask as a whole."""
    try:
        facts = _look_at_picture(fileio.get(job.picture, backend_args=backend_args), job.exif_orientation)
    except OSError as reason:  # no permission, no network
        facts = PictureFacts(error=_describe(reason))
    if job.mask is None:
        return facts
    try:
        data = fileio.get(job.mask, backend_args=backend_args)
        mask = read_mask(io.BytesIO(data), job.mask)
        mask = turn_upright(mask, data) if job.exif_orientation else mask
    except (ValueError, OSError) as reason:
        return facts._replace(mask_error=_describe(reason))
    return facts._replace(mask_size=mask.shape[:2], mask_values=tuple(np.unique(mask).tolist()))


def _look_at_picture(data: bytes, exif_orientation: bool) -> PictureFacts:
    if not data:
        return PictureFacts(error='the file is empty')
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as picture:
            warnings.simplefilter('ignore')  # of large pictures and of odd metadata
            picture.load()
            stored, orientation = (picture.height, picture.width), _orientation(picture) if exif_orientation else 1
    except Exception as reason:  # decoders raise whatever they like
        return PictureFacts(error=_describe(reason))
    try:
        pixels = mmcv.imfrombytes(data, flag=AS_SHOWN if exif_orientation else AS_STORED)  # as LoadImage does
    except Exception as reason:
        return PictureFacts(error=f'OpenCV cannot decode it: {_describe(reason)}')
    if pixels is None:
        return PictureFacts(error='OpenCV cannot decode it')
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
    return PictureFacts(size=pixels.shape[:2], stored=stored, orientation=orientation, digest=digest)


def _orientation(picture: Image.Image) -> int:
    if picture.format in TURNED_BY_ALL:
        return 1
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # broken metadata turn nothing
        return 1
    return value if value in range(1, 9) else 1


def _describe(reason: Exception) -> str:
    if isinstance(reason, Image.UnidentifiedImageError):
        return 'no picture in a format that Pillow knows'
    return str(reason).strip() or type(reason).__name__
