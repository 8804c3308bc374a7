"""Masks as VOC has them: PNGs whose pixels are class indices, with a colour palette."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Optional, Union

import numpy as np
from PIL import Image

from .files import atomic_path

#: Value of ignored pixels, and their colour in VOC's own masks.
IGNORE_INDEX = 255
IGNORE_COLOUR = (224, 224, 192)


def save_mask(mask: np.ndarray, palette: Sequence[Sequence[int]], path: Union[str, Path]) -> None:
    """Write a mask as palette PNG, atomically.

    Args:
        mask: Class indices; 255 is ignored.
        palette: RGB colour of each class, as in `METAINFO['palette']`.
        path: File that ends in `.png`.

    Shape:
        mask (H, W), uint8.
    """
    image = Image.fromarray(mask)
    image.putpalette(mask_palette(palette))
    with atomic_path(path) as temporary:
        image.save(temporary)


def read_mask(file: Union[str, Path, BinaryIO], name: Optional[str] = None) -> np.ndarray:
    """Read the class indices of a palette or grey-scale PNG.

    Args:
        file: Path or open file.
        name: Name in messages, by default the path.

    Shape:
        output (H, W), uint8.

    Raises:
        ValueError: The file is not an image, is truncated, or holds colours rather than indices.
    """
    path = name or file
    try:
        with Image.open(file) as image:
            if image.mode not in ('P', 'L'):
                raise ValueError(
                    f'mask {path}: has mode {image.mode}; a mask holds class indices: 8-bit palette or grey-scale'
                )
            return np.array(image)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f'mask {path}: cannot be read ({error}); fetch or make it again') from error


def mask_palette(palette: Sequence[Sequence[int]]) -> list[int]:
    """Flatten a palette for Pillow: 256 RGB triples, black where there is no class, VOC's colour for 255."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = np.array(palette)
    colours[IGNORE_INDEX] = IGNORE_COLOUR
    return colours.flatten().tolist()


def voc_palette(num_classes: int) -> list[list[int]]:
    """Return the first colours of PASCAL VOC's colour map, RGB in 0..255, black for the background first.

    The bits of a class index become the highest bits of the three channels, in turn.

    Example:
        >>> voc_palette(4)
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    return [
        [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        for index in range(num_classes)
    ]
