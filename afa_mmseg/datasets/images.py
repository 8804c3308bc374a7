"""Images of a data set: their files and ids, decoding, and errors that name the file."""

import io
import os.path as osp
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Optional, Union

import cv2
import mmcv
import numpy as np
from mmengine import fileio
from PIL import Image

from ..utils.checks import check_ids
from .label_tables import read_utf8

#: Formats that OpenCV and Pillow both read.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
Suffixes = Union[str, Sequence[str]]

#: First and last bytes of files by format.
ENDS = dict(JPEG=(b'\xff\xd8', b'\xff\xd9'), PNG=(b'\x89PNG', b'IEND\xaeB`\x82'))
#: Bytes that cameras and editors append to a file.
PADDING = b'\0\r\n\t '
#: Bytes read from the end of a file to find its last ones.
TAIL = 64


#: What loaders raise for broken files.
LOADING_ERRORS = (OSError, SyntaxError, AssertionError, cv2.error, Image.DecompressionBombError)  # mmcv asserts


class BrokenImageError(ValueError):
    """An image cannot be read, or is missing."""


class WrongMaskError(BrokenImageError):
    """A mask can be read, but does not fit its image or the classes; it is never skipped."""


# Decoding


def decode_image(data: bytes, name: str, flag: str = 'color', backend: Optional[str] = None) -> np.ndarray:
    """Decode an image by OpenCV's rules, if it has no more pixels than Pillow allows.

    16 bits are cut to 8, CMYK and palettes become BGR, transparency is dropped, and of an animation the first frame is
    used.

    Args:
        data: Content of the file.
        name: Of the file, for messages.
        flag: See `mmcv.imfrombytes`.
        backend: See `mmcv.imfrombytes`.

    Shape:
        output (H, W, 3), uint8, BGR.

    Raises:
        BrokenImageError: The file is empty, too large, not an image, or holds floating point numbers.
    """
    if not data:
        raise BrokenImageError(f'cannot read {name} as an image: the file is empty')
    _check_size(data, name)
    try:
        image = mmcv.imfrombytes(data, flag=flag, backend=backend)
    except cv2.error:
        image = None
    if image is None:
        raise BrokenImageError(f'cannot read {name} as an image: it cannot be decoded; 8 and 16 bits are supported')
    return image


def check_whole(path: Union[str, Path]) -> None:
    """Raise an `OSError` for a file that is empty, or a JPEG or PNG file that is truncated.

    OpenCV up to version 4 decodes the first part of such a JPEG file and fills the rest with grey. The last bytes of
    the file decide; where others follow the image, Pillow decodes all of it.
    """
    with open(path, 'rb') as file:
        head = file.read(4)
        file.seek(max(file.seek(0, 2) - TAIL, 0))
        tail = file.read()
    if not head:
        raise OSError('the file is empty')
    ends = [end for start, end in ENDS.values() if head.startswith(start)]
    if ends and not tail.rstrip(PADDING).endswith(ends[0]):
        with open(path, 'rb') as file, no_warnings(), Image.open(file) as image:
            load_whole(image, file)


def load_whole(image: Image.Image, file: BinaryIO) -> None:
    """Decode an image that Pillow has opened; raise an `OSError` if it is truncated.

    Pillow accepts a JPEG file whose rest is zeros, which decode as well; such a file has no end.

    Args:
        image: Not decoded yet.
        file: Where Pillow leaves it, after the header, which may hold a thumbnail with an end of its own.
    """
    if ENDS.get(image.format or '', (b'', b''))[1] not in file.read():
        raise OSError('image file is truncated: it has no end')
    image.load()


def check_array(image: np.ndarray) -> None:
    """Raise a `ValueError` unless an array is an image: BGR (H, W, 3), 8 bits or finite numbers in 0..255."""
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f'expected an image (H, W, 3) of BGR values, got an array of shape {image.shape}')
    if image.dtype != np.uint8 and image.dtype.kind != 'f':
        raise ValueError(f'expected an image of uint8, got {image.dtype}; `image // 257` turns 16 bits into 8')
    if image.dtype.kind == 'f' and not np.isfinite(image).all():
        raise ValueError('the image holds values that are not finite (NaN or infinite): replace them')


def _check_size(data: bytes, name: str) -> None:
    """Raise a `BrokenImageError` if the header of a file exceeds Pillow's limit of pixels."""
    try:
        with no_warnings(), Image.open(io.BytesIO(data)):
            pass
    except Image.DecompressionBombError as error:
        raise BrokenImageError(f'cannot read {name} as an image: {error}\n  Make it smaller.') from error
    except (OSError, SyntaxError, ValueError, OverflowError):
        pass  # a format of OpenCV alone, or a broken file


@contextmanager
def no_warnings() -> Iterator[None]:
    """Silence warnings of large images and odd metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


# Files and ids


class ImageFiles(NamedTuple):
    """Image files by id, relative to their folder and sorted; and the number of other files by suffix."""

    files: dict[str, str]
    others: dict[str, int]


def find_images(folder: str, suffixes: Suffixes, backend_args: Optional[dict] = None) -> ImageFiles:
    """List the images of a folder and its subfolders; files and folders that start with a dot are skipped.

    Raises:
        ValueError: Two files have the same id.
    """
    names = fileio.list_dir_or_file(folder, list_dir=False, recursive=True, backend_args=backend_args)
    files: dict[str, str] = {}
    others: Counter[str] = Counter()
    shown = [name for name in names if not any(part.startswith('.') for part in Path(name).parts)]
    for name in sorted(shown):
        img_id = strip_suffix(name, suffixes)
        if img_id is None:
            others[osp.splitext(name)[1] or name] += 1
        elif img_id in files:
            raise ValueError(
                f'{folder}: {files[img_id]} and {name} have the same id {img_id!r}\n'
                '  Rename one, move files that are not images (such as masks) elsewhere, or set `img_suffix`.'
            )
        else:
            files[img_id] = name
    return ImageFiles(dict(sorted(files.items())), dict(others.most_common()))


def strip_suffix(name: str, suffixes: Suffixes) -> Optional[str]:
    """Remove a suffix, as it stands, or the first that fits of several, in either case; None if none fits.

    Example:
        >>> strip_suffix('IMG_1.JPG', ('.jpg', '.png')), strip_suffix('IMG_1.JPG', '.jpg')
        ('IMG_1', None)
    """
    if isinstance(suffixes, str):
        return name[: len(name) - len(suffixes)] if name.endswith(suffixes) else None
    fitting = [suffix for suffix in suffixes if name.lower().endswith(suffix.lower())]
    return name[: len(name) - len(fitting[0])] if fitting else None


def read_ids(path: Union[str, Path], source: Optional[str] = None) -> list[str]:
    """Read a split list: one id a line, in UTF-8 with or without byte-order mark; `source` is for messages.

    Raises:
        ValueError: The file is empty or not UTF-8, or an id leaves the image folder, is no name, or is listed twice.
    """
    source = source or str(path)
    text = read_utf8(Path(path), source, 'Write one id a line, in UTF-8.')
    ids = [line.strip() for line in text.split('\n') if line.strip()]
    if not ids:
        raise ValueError(f'{source}: empty, it lists no images; write one id a line')
    check_ids(ids, source)
    return ids


def match_ids(given: Iterable[str], known: Collection[str], suffixes: Suffixes, where: str) -> dict[str, str]:
    """Map the ids of a list or label file to those of the images; unknown ones are kept.

    An id may carry the image's suffix (`IMG_1.JPG`), use backslashes for folders, or write accented letters in the
    other form that Unicode has (macOS does). An exact match wins.

    Raises:
        ValueError: Two of `given` match the same image; `where` names their source.

    Example:
        >>> match_ids(['a.JPG', 'b', 'c'], ['a', 'b'], ('.jpg',), 'labels.csv')
        {'a.JPG': 'a', 'b': 'b', 'c': 'c'}
    """
    given, suffixes = list(given), [suffixes] if isinstance(suffixes, str) else suffixes
    all_known = all(name in known for name in given)
    composed = {} if all_known else {unicodedata.normalize('NFC', img_id): img_id for img_id in known}
    origin: dict[str, str] = {}
    for name in given:
        plain = unicodedata.normalize('NFC', name.replace('\\', '/'))
        found = composed.get(plain) or composed.get(strip_suffix(plain, suffixes) or plain, name)
        img_id = name if name in known else found
        if img_id in origin:
            raise ValueError(f'{where}: {origin[img_id]!r} and {name!r} are the same image; keep one of them')
        origin[img_id] = name
    return {name: img_id for img_id, name in origin.items()}


def describe_suffixes(suffixes: dict[str, int]) -> str:
    """List suffixes with their counts: `.heic (12), .txt (1)`."""
    return ', '.join(f'{suffix} ({count})' for suffix, count in suffixes.items())
