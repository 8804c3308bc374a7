"""Pictures that cannot be read: named, and left out if that is wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Union

import cv2
from PIL import Image

#: What a data set may do about a broken picture.
POLICIES = ('stop', 'skip')
#: How JPEG and PNG files begin and end.
WHOLE = ((b'\xff\xd8', b'\xff\xd9'), (b'\x89PNG', b'IEND\xaeB`\x82'))
#: Cameras and editors put a few bytes after the end of a picture.
PADDING = b'\0\r\n\t '
#: Bytes read from the end of a file.
TAIL = 64


class BrokenPictureError(ValueError):
    """A picture cannot be read, or is gone."""


def check_policy(policy: str, field: str) -> None:
    """Raise a `ValueError` unless this is one of `POLICIES`."""
    if policy not in POLICIES:
        raise ValueError(f'{field} is {policy!r}; choose "stop" (name the picture) or "skip" (leave it out and count)')


@contextmanager
def naming_pictures(*paths: str) -> Iterator[None]:
    """Turn what loaders raise about files into a `BrokenPictureError` that names them.

    Args:
        paths: What is loaded: the picture, and perhaps its mask.
    """
    try:
        yield
    except BrokenPictureError:
        raise
    except (OSError, SyntaxError, cv2.error, Image.DecompressionBombError) as error:
        raise BrokenPictureError(_describe(paths, str(error).strip() or type(error).__name__)) from error
    except AssertionError as error:  # of mmcv
        if 'failed to load' not in str(error):
            raise
        raise BrokenPictureError(_describe(paths, 'it cannot be decoded')) from error


def check_whole(path: Union[str, Path]) -> None:
    """Raise an `OSError` for a file that is empty or a JPEG or PNG file that breaks off.

    OpenCV up to version 4 decodes the first part of such a JPEG file and leaves the rest grey. First and last bytes
    tell; where they leave a doubt, because something follows the picture, Pillow decodes it as a whole.
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
        with Image.open(path) as picture:
            picture.load()


def _describe(paths: tuple[str, ...], reason: str) -> str:
    return f'{" with ".join(paths)} cannot be loaded: {reason}'
