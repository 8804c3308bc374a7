"""VOC-style masks and image-level labels from the annotations of a COCO picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from .coco_annotations import Picture, Region
from .coco_shapes import draw_shape

IGNORE_INDEX = 255
#: What the pixels of crowd regions are: of their class, ignored, or as if there were no such region.
CROWD_RULES = ('class', 'ignore', 'skip')
#: EXIF orientations other than upright; mmcv turns such pictures as it loads them.
ORIENTATION_TAG = 0x0112


def draw_mask(picture: Picture, crowd: str = 'class') -> tuple[np.ndarray, list[int]]:
    """Draw the class of every pixel; 0 is background.

    Where regions overlap, the one of fewer pixels is seen, of two of the same size that with the higher id; crowd
    regions lie below all others.

    Args:
        picture: With its regions.
        crowd: One of `CROWD_RULES`.

    Shape:
        mask (H, W), uint8.

    Returns:
        The mask, and the ids of the annotations that cover no pixel, even by themselves.
    """
    regions = counted_regions(picture, crowd)
    drawn = {region.id: draw_shape(region.shape, picture.height, picture.width) for region in regions}
    areas = {number: np.count_nonzero(pixels) for number, pixels in drawn.items()}
    mask = np.zeros((picture.height, picture.width), np.uint8)
    for region in sorted(regions, key=lambda region: (not region.crowd, -areas[region.id], region.id)):
        mask[drawn[region.id]] = IGNORE_INDEX if region.crowd and crowd == 'ignore' else region.label
    return mask, [number for number, area in areas.items() if not area]


def image_labels(picture: Picture, crowd: str = 'class') -> list[int]:
    """List the class indices that a picture shows: those of all regions, whether or not others hide them."""
    return sorted({region.label for region in counted_regions(picture, crowd)})


def counted_regions(picture: Picture, crowd: str) -> list[Region]:
    """Give all regions, or for `skip` those that are no crowds."""
    return [region for region in picture.regions if not (region.crowd and crowd == 'skip')]


def check_picture(path: Path, height: int, width: int) -> tuple[str, bool]:
    """Read a picture to its end; tell its mode as PIL names it (RGB, L, CMYK, ...) and whether EXIF turns it.

    Raises:
        ValueError: It is no picture, ends too early, or has another size than its annotations.
    """
    try:
        with Image.open(path) as picture:
            mode, size, turned = picture.mode, picture.size, picture.getexif().get(ORIENTATION_TAG, 1) != 1
            picture.draft('RGB', (1, 1))  # JPEG: all data is read, but at an eighth of the size, which is faster
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path}: not a whole picture ({error})') from error
    if size != (width, height):
        raise ValueError(f'{path}: has {size[0]} x {size[1]} pixels, but its annotations are for {width} x {height}')
    return mode, turned
