"""Masks and image-level labels from COCO's annotation files, by pycocotools."""

import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np

from ...utils import IGNORE_INDEX
from ...utils.checks import import_extra

#: What the pixels of crowd regions become: their class, ignored, or what lies below.
CROWD_RULES = ('class', 'ignore', 'skip')
#: An image's name is a file of its folder; ids in lists are names without `.jpg`.
FILE_NAME = re.compile(r'\w[\w.-]*\.jpg')
#: Numbers of a polygon of three corners; one of fewer encloses nothing, and pycocotools reads it as a box.
MIN_NUMBERS = 6
REMEDY = 'Unpack annotations_trainval2014.zip of https://cocodataset.org again.'


class Region(NamedTuple):
    """An object, or a crowd, of a class; `outline` is a list of polygons in pixels or a run-length encoding."""

    id: int
    label: int
    crowd: bool
    outline: Union[list, dict]


class CocoImage(NamedTuple):
    """An image with its annotations; sizes in pixels."""

    file_name: str
    width: int
    height: int
    regions: list[Region]

    @property
    def img_id(self) -> str:
        """Name without suffix."""
        return self.file_name[: -len('.jpg')]


def read_images(path: Union[str, Path], classes: Sequence[str]) -> list[CocoImage]:
    """Read an annotation file of COCO; images are sorted by number.

    Args:
        path: `instances_train2014.json` or `instances_val2014.json`.
        classes: Names of the foreground classes in the order of their category ids; the first one gets index 1.

    Raises:
        ValueError: The file is no whole JSON, lacks a field, has other categories, or names a file outside the folder.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            coco = import_extra('pycocotools.coco', 'converters').COCO(str(path))
        labels = _label_of_category(coco.dataset['categories'], classes)
        images = []
        for number, image in sorted(coco.imgs.items()):
            regions = [
                Region(a['id'], labels[a['category_id']], bool(a.get('iscrowd', 0)), a['segmentation'])
                for a in coco.imgToAnns[number]
            ]
            if not FILE_NAME.fullmatch(image['file_name']):
                raise ValueError(f'`file_name` {image["file_name"]!r} must be the plain name of a .jpg')
            images.append(CocoImage(image['file_name'], image['width'], image['height'], regions))
        lost = len(coco.dataset['annotations']) - sum(len(image.regions) for image in images)
        if lost or not images:
            raise ValueError(f'{len(images)} images, {lost} annotations of none of them')
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise ValueError(f'annotation file {path}: {type(error).__name__}: {error}\n  {REMEDY}') from error
    return images


def draw_mask(image: CocoImage, crowd: str = 'class') -> np.ndarray:
    """Draw the class of every pixel; 0 is background.

    Where regions overlap, the one of fewer pixels is on top, of two of the same size that with the higher id; crowd
    regions lie below all others.

    Args:
        image: With its regions.
        crowd: One of `CROWD_RULES`.

    Shape:
        output (H, W), uint8.

    Raises:
        ValueError: An outline is malformed, or belongs to an image of another size.
    """
    regions = _counted(image, crowd)
    drawn = {region.id: _draw(region, image) for region in regions}
    mask = np.zeros((image.height, image.width), np.uint8)
    for region in sorted(regions, key=lambda region: (not region.crowd, -drawn[region.id].sum(), region.id)):
        mask[drawn[region.id]] = IGNORE_INDEX if region.crowd and crowd == 'ignore' else region.label
    return mask


def image_labels(image: CocoImage, crowd: str = 'class') -> list[int]:
    """List the class indices of all counted regions, whether or not others hide them."""
    return sorted({region.label for region in _counted(image, crowd)})


def _counted(image: CocoImage, crowd: str) -> list[Region]:
    return [region for region in image.regions if not (region.crowd and crowd == 'skip')]


def _label_of_category(categories: list[dict], classes: Sequence[str]) -> dict[int, int]:
    """Number the categories 1, 2, ... by ascending id, and compare their names."""
    name_of_id = {category['id']: category['name'] for category in categories}
    names = [name_of_id[number] for number in sorted(name_of_id)]
    wrong = [f'{name!r} in place of {expected!r}' for name, expected in zip(names, classes) if name != expected]
    if wrong or len(names) != len(classes):
        detail = wrong[0] if wrong else f'{len(names)} of them'
        raise ValueError(f"`categories` are not COCO's {len(classes)} in the order of their ids: {detail}")
    return {number: label for label, number in enumerate(sorted(name_of_id), 1)}


def _draw(region: Region, image: CocoImage) -> np.ndarray:
    """Draw an outline, bool (H, W); the polygons of an annotation are united."""
    size, outline = (image.height, image.width), region.outline
    try:
        if isinstance(outline, list):
            outline = [polygon for polygon in outline if len(polygon) >= MIN_NUMBERS]
        coco = import_extra('pycocotools.coco', 'converters').COCO()
        coco.imgs = {0: dict(height=image.height, width=image.width)}
        pixels = coco.annToMask(dict(image_id=0, segmentation=outline)) if outline else np.zeros(size)
    except Exception as error:  # pycocotools raises bare exceptions, too
        raise ValueError(f'{image.file_name}, annotation {region.id}: `segmentation`: {error}\n  {REMEDY}') from error
    if pixels.shape != size:
        raise ValueError(
            f'{image.file_name}, annotation {region.id}: `segmentation` has the size {pixels.shape}, the image {size}'
        )
    return pixels.astype(bool)
