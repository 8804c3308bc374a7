"""Image files named by the user: search, reading, shrinking."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Union

import cv2
import numpy as np

from ..datasets.images import IMAGE_SUFFIXES, decode_image


class NamedImage(NamedTuple):
    """An image file, and the name of its results: its path below the searched folder, without suffix."""

    path: Path
    name: str


def find_images(sources: Sequence[Union[str, Path]], without: Sequence[Path] = ()) -> list[NamedImage]:
    """List the images of files, folders (with their subfolders) and patterns such as `photos/*.jpg`.

    In folders and patterns other files and hidden ones are skipped. Names are unique: images that differ in their
    suffix alone keep it.

    Args:
        sources: Files, folders, patterns.
        without: Folders to skip, such as those of results.

    Raises:
        FileNotFoundError: A file does not exist, or a folder or pattern has no image.
    """
    found: dict[Path, None] = {}  # ordered, each once
    bases = []
    excluded = {Path(os.path.abspath(folder)) for folder in without}
    for source in map(str, sources):
        base, paths = _expand(source)
        paths = [path for path in paths if excluded.isdisjoint(path.parents)]
        if not paths:
            raise FileNotFoundError(f'no images in {source}: known suffixes are {", ".join(IMAGE_SUFFIXES)}')
        bases.append(base)
        found.update(dict.fromkeys(paths))
    root = Path(os.path.commonpath(bases)) if bases else Path()
    stems = Counter(path.with_suffix('') for path in found)
    named = {path: path if stems[path.with_suffix('')] > 1 else path.with_suffix('') for path in found}
    return [NamedImage(path, name.relative_to(root).as_posix()) for path, name in named.items()]


def _expand(source: str) -> tuple[Path, list[Path]]:
    """Return the folder that names are relative to, and the images; absolute paths."""
    path = Path(os.path.abspath(source))
    if path.is_file():
        return path.parent, [path]
    if not path.is_dir() and not glob.has_magic(source):
        raise FileNotFoundError(f'image or folder not found: {source}')
    if path.is_dir():
        base, files = path, path.rglob('*')
    else:
        base = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        files = (Path(os.path.abspath(name)) for name in glob.iglob(source, recursive=True))
    return base, sorted(
        file
        for file in files
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith('.') for part in file.relative_to(base).parts)
        and file.is_file()
    )


def read_image(path: Union[str, Path]) -> np.ndarray:
    """Read an image as the data pipelines do: BGR (H, W, 3), uint8, rotated by its EXIF orientation.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not an image, is damaged, or exceeds Pillow's limit of pixels.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'image not found: {path}')
    return decode_image(Path(path).read_bytes(), str(path))


def shrink(image: np.ndarray, side: int) -> np.ndarray:
    """Downscale a larger image to a longer side in pixels."""
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(length * factor)) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
