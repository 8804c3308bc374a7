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
from ..transforms.loading import AS_SHOWN, AS_STORED
from ..transforms.masks import ORIENTATION_TAG, turn_upright


class Job(NamedTuple):
    """Files to read."""

    image: str
    mask: Optional[str] = None
    exif_orientation: bool = True


class Facts(NamedTuple):
    """Properties of an image and its mask.

    Args:
        error: Why the image cannot be read; empty if it can.
        size: Height and width as training reads it.
        is_turned: Whether its EXIF orientation is another than upright, and is applied.
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
        facts = _read_image(fileio.get(job.image, backend_args=backend_args), job)
    except Exception as reason:  # decoders and backends raise anything
        facts = Facts(error=str(reason).strip() or type(reason).__name__)
    if job.mask is None:
        return facts
    try:
        data = fileio.get(job.mask, backend_args=backend_args)
        mask = read_mask(io.BytesIO(data), job.mask)
        mask = turn_upright(mask, data) if job.exif_orientation else mask
    except (ValueError, OSError) as reason:
        return facts._replace(mask_error=str(reason).strip() or type(reason).__name__)
    return facts._replace(mask_size=mask.shape[:2], mask_values=tuple(np.unique(mask).tolist()))


def _read_image(data: bytes, job: Job) -> Facts:
    pixels = decode_image(data, job.image, AS_SHOWN if job.exif_orientation else AS_STORED)  # as LoadImage does
    with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
        warnings.simplefilter('ignore')  # of large images and odd metadata
        image.load()  # to the end: OpenCV accepts truncated files
        is_turned = (
            job.exif_orientation and image.format != 'TIFF' and image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9)
        )
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
    return Facts(size=pixels.shape[:2], is_turned=is_turned, digest=digest)
