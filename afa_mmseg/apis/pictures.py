"""The pictures that a user names: files, folders, patterns."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np

from ..datasets.decoding import decode_picture
from ..datasets.picture_files import PICTURE_SUFFIXES


class NamedPicture(NamedTuple):
    """A picture, and a name for what is made of it: its path below the folder that was searched, without suffix."""

    path: Path
    name: str


def find_pictures(sources: Sequence[Union[str, Path]], without: Sequence[Path] = ()) -> list[NamedPicture]:
    """List the pictures of files, folders (with their subfolders) and patterns such as `photos/*.jpg`.

    In folders and patterns files that are no pictures, and names that start with a dot, are left out; a file that is
    named itself is taken as it is. Names are unique: where two pictures differ in their suffix only, they keep it.

    Args:
        sources: What the user named.
        without: Folders to leave out, such as those where results are written.

    Raises:
        FileNotFoundError: A file is not there, or a folder or pattern has no picture.
    """
    found: dict[Path, None] = {}  # ordered, each once
    bases = []
    excluded = {Path(os.path.abspath(folder)) for folder in without}
    for source in map(str, sources):
        base, paths = _expand(source)
        paths = [path for path in paths if excluded.isdisjoint(path.parents)]
        if not paths:
            raise FileNotFoundError(f'no pictures in {source}: their names end in {", ".join(PICTURE_SUFFIXES)}')
        bases.append(base)
        found.update(dict.fromkeys(paths))
    root = Path(os.path.commonpath(bases)) if bases else Path()
    stems = Counter(path.with_suffix('') for path in found)
    named = {path: path if stems[path.with_suffix('')] > 1 else path.with_suffix('') for path in found}
    return [NamedPicture(path, name.relative_to(root).as_posix()) for path, name in named.items()]


def read_picture(path: Union[str, Path]) -> np.ndarray:
    """Read a picture as the data pipelines do: BGR (H, W, 3), uint8, turned as its EXIF data says.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no picture, broken, or larger than `AFA_MAX_PIXELS` allows.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'picture not found: {path}')
    return decode_picture(Path(path).read_bytes(), str(path))


def _expand(source: str) -> tuple[Path, list[Path]]:
    """Give the folder that names are relative to, and the pictures, all absolute."""
    path = Path(os.path.abspath(source))
    if path.is_dir():
        return path, _pictures(path.rglob('*'), path)
    if path.is_file():
        return path.parent, [path]
    if not glob.has_magic(source):
        raise FileNotFoundError(f'picture or folder not found: {source}')
    fixed = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
    return fixed, _pictures((Path(os.path.abspath(name)) for name in glob.iglob(source, recursive=True)), fixed)


def _pictures(paths: Iterable[Path], below: Path) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith('.') for part in path.relative_to(below).parts)
        and path.is_file()
    )
