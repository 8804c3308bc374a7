"""Properties of the file of an image and that of its mask."""

import hashlib
import io
import warnings
from typing import NamedTuple, Optional

import numpy as np
from mmengine import fileio
from PIL import Image

from ...utils import read_mask
from ..images import decode_image

#: EXIF tag 'Orientation'; 1 is upright.
ORIENTATION = 0x0112


class Job(NamedTuple):
    """Files to read."""

    image: str
    mask: Optional[str] = None


class Facts(NamedTuple):
    """Properties of an image and its mask.

    Args:
        error: Why the image cannot be read; empty if it can.
        size: Height and width as training reads it.
        is_turned: Whether EXIF stores another orientation than upright.
        digest: Hash of the pixels.
        mask_error: Why the mask cannot be read.
        mask_size: Height and width of the mask, if there is one.
        mask_values: Values that occur in it.
    """

    error: str = ''
    size: tuple[int, int] = (0, 0)
    is_turned: bool = False
    digest: str = ''
    mask_error: str = ''
    mask_size: Optional[tuple[int, int]] = None
    mask_values: tuple[int, ...] = ()


def read_facts(job: Job, backend_args: Optional[dict] = None) -> Facts:
    """Decode an image and its mask as a whole."""
    try:
        facts = _read_image(fileio.get(job.image, backend_args=backend_args), job.image)
    except Exception as reason:  # decoders and backends raise anything
        facts = Facts(error=str(reason).strip() or type(reason).__name__)
    if job.mask is None:
        return facts
    try:
        mask = read_mask(io.BytesIO(fileio.get(job.mask, backend_args=backend_args)), job.mask)
    except (ValueError, OSError) as reason:
        return facts._replace(mask_error=str(reason).strip() or type(reason).__name__)
    return facts._replace(mask_size=mask.shape[:2], mask_values=tuple(np.unique(mask).tolist()))


def _read_image(data: bytes, name: str) -> Facts:
    pixels = decode_image(data, name)
    with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
        warnings.simplefilter('ignore')  # of large images and odd metadata
        image.load()  # to the end: OpenCV accepts truncated files
        is_turned = image.format != 'TIFF' and image.getexif().get(ORIENTATION, 1) in range(2, 9)
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
    return Facts(size=pixels.shape[:2], is_turned=is_turned, digest=digest)
