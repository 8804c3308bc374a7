"""Pictures that cannot be read: named, and left out if that is wanted."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from PIL import Image

#: What a data set may do about a broken picture.
POLICIES = ('stop', 'skip')


class BrokenPictureError(ValueError):
    """A picture cannot be read, or is gone."""


class WrongMaskError(BrokenPictureError):
    """A mask can be read, but is not that of its picture or of these classes; it is never left out."""


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


def _describe(paths: tuple[str, ...], reason: str) -> str:
    return f'{" with ".join(paths)} cannot be loaded: {reason}'
