"""Image-level labels of VOC from XML and from masks, and where the two disagree."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from ..label_files import check_classes, parse_xml, read_voc_xml
from ..voc import VOCImageLevelDataset
from .voc_masks import IGNORE_INDEX, load_mask
from .voc_tree import VOCTree

CLASSES = VOCImageLevelDataset.METAINFO['classes']

#: Why a class of the XML may be missing in the mask, or the other way round.
REASONS = dict(
    void='no pixel of the class; beside background, its box shows mostly void: outlines, or something unclear',
    covered='no pixel of the class; beside background, its box shows mostly other classes',
    unlabelled='no pixel of the class; its box shows background only',
    other_name='most of the pixels lie in the box of an object of another class, which has fewer pixels there',
    no_object='no object of the XML fits the pixels',
)

#: Smallest share of a box that is told.
MIN_SHARE = 0.005

#: Columns and rows of a box, as slices.
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Difference:
    """Why a class is in the XML or the mask only: a key of `REASONS`, and figures."""

    reason: str
    detail: str


@dataclass(frozen=True)
class PictureLabels:
    """What XML and mask say about a picture.

    Args:
        img_id: Picture id.
        xml: Classes of its objects, in VOC's order.
        mask: Classes of its pixels, in VOC's order.
        xml_only: Why the mask lacks classes of the XML.
        mask_only: Why the XML lacks classes of the mask.
        source: Whose the mask is: `VOC`, `SBD` (none of VOC's is there), `changed` (VOC's is there, and another),
            or `unknown` (there is no `SegmentationClass`).
    """

    img_id: str
    xml: list[str]
    mask: list[str]
    xml_only: dict[str, Difference]
    mask_only: dict[str, Difference]
    source: str


def compare_labels(tree: VOCTree, img_id: str) -> PictureLabels:
    """Read XML and mask of a picture, check that they belong to it, and compare their classes.

    Args:
        tree: The VOC folder, with `SegmentationClassAug`.
        img_id: Picture id.

    Raises:
        ValueError: XML, mask or picture are broken or do not belong together.
    """
    size = tree.picture_size(img_id)
    mask_path = tree.aug_masks / f'{img_id}.png'
    objects = read_objects(tree.annotations / f'{img_id}.xml', img_id, size)
    mask = load_mask(mask_path, str(mask_path), size)
    pixels = np.bincount(mask.ravel(), minlength=len(CLASSES))
    xml = _in_order(name for name, _ in objects)
    shown = _in_order(name for name, count in zip(CLASSES[1:], pixels[1:]) if count)
    return PictureLabels(
        img_id=img_id,
        xml=xml,
        mask=shown,
        xml_only={
            c: explain_xml_only(mask, [box for name, box in objects if name == c]) for c in xml if c not in shown
        },
        mask_only={c: explain_mask_only(mask, c, objects) for c in shown if c not in xml},
        source=_mask_source(tree, mask_path, mask),
    )


def read_objects(path: Path, img_id: str, size: tuple[int, int]) -> list[tuple[str, Box]]:
    """Read class and box of each object, after checking that the XML belongs to the picture.

    Args:
        path: XML file.
        img_id: Picture id.
        size: Width and height of the picture.

    Raises:
        ValueError: The file is broken, or of another picture.
    """
    names = read_voc_xml(path)
    check_classes(names, CLASSES[1:], f'annotation file {path}')
    root = parse_xml(path)
    filename = (root.findtext('filename') or '').strip()
    if filename not in (img_id, f'{img_id}.jpg'):
        raise ValueError(
            f'annotation file {path}: <filename> is {filename!r}, not {img_id}.jpg; '
            'it is of another picture: fetch it again'
        )
    found = tuple(_number(root, f'size/{key}', path) for key in ('width', 'height'))
    if found != size:
        raise ValueError(
            f'annotation file {path}: <size> is {found[0]:g} x {found[1]:g}, its picture {size[0]} x {size[1]}; '
            'one of the two is of another picture: fetch them again'
        )
    return [(name, _read_box(item, path)) for name, item in zip(names, root.findall('object'))]


def explain_xml_only(mask: np.ndarray, boxes: Sequence[Box]) -> Difference:
    """Tell what the mask shows where an object has its boxes.

    Args:
        mask: Class indices without a pixel of the object's class.
        boxes: Boxes of all objects of the class.

    Shape:
        mask (H, W), uint8.
    """
    region = np.zeros(mask.shape, bool)
    for box in boxes:
        region[box] = True
    counts = np.bincount(mask[region], minlength=IGNORE_INDEX + 1)
    area = int(counts.sum())
    void, background = int(counts[IGNORE_INDEX]), int(counts[0])
    shares = {CLASSES[i]: int(counts[i]) for i in np.argsort(-counts[: len(CLASSES)]) if i and counts[i]}
    others = sum(shares.values())
    reason = 'unlabelled' if not void and not others else 'void' if void >= others else 'covered'
    parts = {**dict(list(shares.items())[:2]), 'void': void, 'background': background}
    told = {name: count for name, count in parts.items() if count > MIN_SHARE * area}
    detail = ', '.join(f'{name} {100 * count / area:.0f} %' for name, count in told.items())
    plural = '' if len(boxes) == 1 else 's'
    return Difference(reason, f'{len(boxes)} object{plural}, {area} pixels: {detail or "outside the picture"}')


def explain_mask_only(mask: np.ndarray, name: str, objects: Sequence[tuple[str, Box]]) -> Difference:
    """Tell what the XML has where the mask shows a class.

    Args:
        mask: Class indices.
        name: The class.
        objects: Class and box of the XML's objects, none of them of this class.

    Shape:
        mask (H, W), uint8.
    """
    index = CLASSES.index(name)
    total = int((mask == index).sum())
    for other, box in objects:
        counts = np.bincount(mask[box].ravel(), minlength=len(CLASSES))
        if 2 * counts[index] > total and counts[index] > counts[CLASSES.index(other)]:
            share = 100 * counts[index] / total
            return Difference('other_name', f'{total} pixels, {share:.0f} % in the box of an object called {other}')
    return Difference('no_object', f'{total} pixels')


def _in_order(names: Iterable[str]) -> list[str]:
    there = set(names)
    return [name for name in CLASSES[1:] if name in there]


def _mask_source(tree: VOCTree, path: Path, mask: np.ndarray) -> str:
    own = tree.voc_masks / path.name
    if not tree.voc_masks.is_dir():
        return 'unknown'
    if not own.is_file():
        return 'SBD'
    if own.read_bytes() == path.read_bytes():
        return 'VOC'
    return 'VOC' if np.array_equal(load_mask(own, str(own), mask.shape[::-1]), mask) else 'changed'


def _read_box(item: ET.Element, path: Path) -> Box:
    """Read a box, 1-based and inclusive; an object without one may be anywhere."""
    if item.find('bndbox') is None:
        return slice(None), slice(None)
    left, top, right, bottom = (_number(item, f'bndbox/{key}', path) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
    return _span(top, bottom), _span(left, right)


def _span(first: float, last: float) -> slice:
    return slice(max(math.floor(first) - 1, 0), max(math.ceil(last), 0))


def _number(item: ET.Element, key: str, path: Path) -> float:
    text: Optional[str] = item.findtext(key)
    try:
        value = float(text or '')
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'annotation file {path}: <{key}> is {text!r}, not a number; fetch it again')
    return value
