"""Decoding of pictures, the same in training, testing and inference."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional, Union

import cv2
import mmcv
import numpy as np
from PIL import Image, UnidentifiedImageError

from .broken_pictures import BrokenPictureError

#: Pixels of the largest picture that is decoded, 600 MB in memory; phones take pictures of as many.
MAX_PIXELS = 200_000_000
#: Environment variable with another limit; workers and other processes see it too.
LIMIT_VARIABLE = 'AFA_MAX_PIXELS'
#: Formats whose headers Pillow reads (MPO is one of JPEG's); it knows others that start programs.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'JPEG2000', 'PPM')
#: How JPEG and PNG files begin and end.
WHOLE = ((b'\xff\xd8', b'\xff\xd9'), (b'\x89PNG', b'IEND\xaeB`\x82'))
#: Cameras and editors put a few bytes after the end of a picture.
PADDING = b'\0\r\n\t '
#: Bytes read from the end of a file.
TAIL = 64


def decode_picture(data: bytes, name: str, flag: str = 'color', backend: Optional[str] = None) -> np.ndarray:
    """Decode a picture, unless its header says that it has more pixels than `max_pixels`.

    As OpenCV does it: BGR (H, W, 3) in 8 bits, turned as EXIF says; 16 bits are cut to 8, CMYK and palettes become
    BGR, transparency is left out, of an animation the first frame counts.

    Args:
        data: What the file holds.
        name: Of the file, for messages.
        flag: As `mmcv.imfrombytes` takes it.
        backend: As `mmcv.imfrombytes` takes it.

    Raises:
        BrokenPictureError: It is empty, too large, no picture, or holds floating point numbers.
    """
    if not data:
        raise BrokenPictureError(f'cannot be read as a picture: {name}: the file is empty')
    check_size(data, name)
    try:
        with _no_limit_of_pillow():
            image = mmcv.imfrombytes(data, flag=flag, backend=backend)
    except cv2.error:
        image = None
    if image is None:
        raise BrokenPictureError(f'cannot be read as a picture: {name}: it cannot be decoded; 8 and 16 bits are read')
    return image


def check_whole(path: Union[str, Path]) -> None:
    """Raise an `OSError` for a file that is empty or a JPEG or PNG file that breaks off.

    OpenCV up to version 4 decodes the first part of such a JPEG file and leaves the rest grey. First and last bytes
    tell; where they leave a doubt, because something follows the picture, Pillow decodes it as a whole.

    Raises:
        BrokenPictureError: It is to be decoded, and too large for that.
    """
    with open(path, 'rb') as file:
        head = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(size - TAIL, 0))
        tail = file.read()
    if not head:
        raise OSError('the file is empty')
    ends = [end for start, end in WHOLE if head.startswith(start)]
    if ends and not tail.rstrip(PADDING).endswith(ends[0]):
        data = Path(path).read_bytes()
        check_size(data, str(path))
        with _no_limit_of_pillow(), Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            picture.load()


def check_size(data: bytes, name: str) -> None:
    """Raise a `BrokenPictureError` if a picture's header says that it has more pixels than `max_pixels`."""
    pixels = count_pixels(data)
    if pixels is not None and pixels > max_pixels():
        raise BrokenPictureError(
            f'picture too large: {name}: {pixels:,} pixels, more than {max_pixels():,}; such files can fill the memory.'
            f'\n  Make it smaller, or raise the limit: {LIMIT_VARIABLE}={pixels}'
        )


def check_array(image: np.ndarray) -> None:
    """Raise a `ValueError` unless an array is a picture: BGR (H, W, 3), 8 bits or finite numbers in 0..255."""
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f'an array of shape {image.shape} is no picture: give BGR values, (H, W, 3)')
    if image.dtype != np.uint8 and image.dtype.kind != 'f':
        raise ValueError(f'an array of {image.dtype} is no picture: give uint8; 16 bits become 8 by `image // 257`')
    if image.dtype.kind == 'f' and not np.isfinite(image).all():
        raise ValueError('the picture holds values that are not finite (NaN or infinite): replace them')


def max_pixels() -> int:
    """Tell the pixels of the largest picture that is decoded: `MAX_PIXELS`, or what `AFA_MAX_PIXELS` says.

    Raises:
        ValueError: It says something else than a positive whole number.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(MAX_PIXELS))
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f'{LIMIT_VARIABLE}={text!r} must be a number of pixels, such as {MAX_PIXELS}')
    return int(text)


def count_pixels(data: bytes) -> Optional[int]:
    """Read from its header how many pixels a picture has; None if Pillow does not know the format."""
    try:
        with _no_limit_of_pillow(), Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return picture.width * picture.height
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, OverflowError):
        return None


@contextmanager
def _no_limit_of_pillow() -> Iterator[None]:
    """Let no limit of pixels hold but ours, `max_pixels`."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of odd metadata
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
