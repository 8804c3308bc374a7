"""Masks as VOC has them: PNGs whose pixels are class indices, with a palette to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Optional, Union

import numpy as np
from PIL import Image

from .files import atomic_path

#: Colour of ignored pixels (255) in VOC's own masks.
IGNORE_COLOUR = (224, 224, 192)


def save_mask(mask: np.ndarray, palette: Sequence[Sequence[int]], path: Union[str, Path]) -> None:
    """Write a mask as palette PNG, whole or not at all.

    Args:
        mask: Class indices; 255 is ignored.
        palette: RGB colour of each class, as in `METAINFO['palette']`.
        path: File that ends in `.png`.

    Shape:
        mask (H, W), uint8.
    """
    picture = Image.fromarray(mask)
    picture.putpalette(mask_palette(palette))
    with atomic_path(path) as temporary:
        picture.save(temporary)


def read_mask(file: Union[str, Path, BinaryIO], name: Optional[str] = None) -> np.ndarray:
    """Read the class indices of a palette or grey-scale PNG; (H, W), uint8.

    Args:
        file: The mask, by its path or opened.
        name: How messages call it; by default its path.

    Raises:
        ValueError: The file is no picture, is truncated, or holds colours rather than indices.
    """
    path = name or file
    try:
        with Image.open(file) as picture:
            if picture.mode not in ('P', 'L'):
                raise ValueError(
                    f'mask {path}: has mode {picture.mode}; a mask holds class indices: 8-bit palette or grey-scale'
                )
            return np.array(picture)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:
        raise ValueError(f'mask {path}: cannot be read ({error}); fetch or make it again') from error


def mask_palette(palette: Sequence[Sequence[int]]) -> list[int]:
    """Flatten a palette for PIL: 256 RGB triples, black where there is no class, VOC's colour for 255."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = np.array(palette)
    colours[255] = IGNORE_COLOUR
    return colours.flatten().tolist()
