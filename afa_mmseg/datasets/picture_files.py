"""The pictures of a folder, and ids as people write them in lists and spreadsheets."""

import os.path as osp
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

from mmengine import fileio

from ..utils.checks import check_ids
from .label_tables import read_utf8

#: What OpenCV and Pillow both read.
PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
Suffixes = Union[str, Sequence[str]]


class PictureFiles(NamedTuple):
    """Files of pictures, relative to their folder, by id, sorted; and the suffixes of the other files, counted."""

    files: dict[str, str]
    others: dict[str, int]


def find_pictures(folder: str, suffixes: Suffixes, backend_args: Optional[dict] = None) -> PictureFiles:
    """List the pictures of a folder and its subfolders; names that start with a dot are left out.

    Args:
        folder: Where `backend_args` can list it.
        suffixes: What follows the id in a file's name: a string as it is, or several, in either case.
        backend_args: Of mmengine's file backends.

    Raises:
        ValueError: Two files have the same id.
    """
    names = fileio.list_dir_or_file(folder, list_dir=False, recursive=True, backend_args=backend_args)
    files: dict[str, str] = {}
    others: Counter[str] = Counter()
    for name in sorted(names):
        img_id = strip_suffix(name, suffixes)
        if img_id is None:
            others[osp.splitext(name)[1] or name] += 1
        elif img_id in files:
            raise ValueError(
                f'{folder}: {files[img_id]} and {name} are two files for the id {img_id!r}\n'
                '  Rename one, move what is no picture (such as a mask) elsewhere, or set `img_suffix`.'
            )
        else:
            files[img_id] = name
    return PictureFiles(dict(sorted(files.items())), dict(others.most_common()))


def strip_suffix(name: str, suffixes: Suffixes) -> Optional[str]:
    """Take the first of `suffixes` that fits off the end of a file name; None if none does.

    Example:
        >>> strip_suffix('IMG_1.JPG', ('.jpg', '.png')), strip_suffix('IMG_1.JPG', '.jpg')
        ('IMG_1', None)
    """
    if isinstance(suffixes, str):
        return name[: len(name) - len(suffixes)] if name.endswith(suffixes) else None
    fitting = [suffix for suffix in suffixes if name.lower().endswith(suffix.lower())]
    return name[: len(name) - len(fitting[0])] if fitting else None


def read_ids(path: Union[str, Path], source: Optional[str] = None) -> list[str]:
    """Read a split list: one id a line, in UTF-8 with or without byte-order mark.

    Args:
        path: A local file.
        source: What to call it in messages, if not by its path.

    Raises:
        ValueError: It is not UTF-8, or an id leaves the picture folder, is none, or is there twice.
    """
    source = source or str(path)
    text = read_utf8(Path(path), source, 'Write one id a line, in UTF-8.')
    ids = [line.strip() for line in text.split('\n') if line.strip()]
    check_ids(ids, source)
    return ids


def match_ids(given: Iterable[str], known: Collection[str], suffixes: Suffixes, where: str) -> dict[str, str]:
    """Tell which picture each id of a list or label file means; unknown ones mean themselves.

    An id may carry the picture's suffix (`IMG_1.JPG`), use backslashes for folders, or write letters with
    accents in the other form that Unicode has (macOS does). An id that is known as it stands is taken so.

    Args:
        given: Ids as they are written.
        known: Ids of the pictures.
        suffixes: See `find_pictures`.
        where: What holds the ids, for the message.

    Raises:
        ValueError: Two of `given` mean the same picture.

    Example:
        >>> match_ids(['a.JPG', 'b', 'c'], ['a', 'b'], ('.jpg',), 'labels.csv')
        {'a.JPG': 'a', 'b': 'b', 'c': 'c'}
    """
    given = list(given)
    either_case = [suffixes] if isinstance(suffixes, str) else suffixes
    all_known = all(name in known for name in given)
    composed = {} if all_known else {unicodedata.normalize('NFC', img_id): img_id for img_id in known}
    meant: dict[str, str] = {}
    origin: dict[str, str] = {}
    for name in given:
        img_id = name if name in known else _find(name, composed, either_case)
        if img_id in origin:
            raise ValueError(f'{where}: {origin[img_id]!r} and {name!r} are the same picture; keep one of them')
        origin[img_id] = name
        meant[name] = img_id
    return meant


def _find(name: str, composed: dict[str, str], suffixes: Suffixes) -> str:
    """Look an id up that is not known as it stands, among known ones by their composed form."""
    plain = unicodedata.normalize('NFC', name.replace('\\', '/'))
    return composed.get(plain) or composed.get(strip_suffix(plain, suffixes) or plain, name)


def describe_suffixes(suffixes: dict[str, int]) -> str:
    """List suffixes with how often they occur, the most frequent first.

    Example:
        >>> describe_suffixes({'.heic': 12, '.txt': 1})
        '.heic (12), .txt (1)'
    """
    return ', '.join(f'{suffix} ({count})' for suffix, count in suffixes.items())
