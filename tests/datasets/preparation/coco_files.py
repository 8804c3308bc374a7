"""Small COCO folders of real files, with the official category ids."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from afa_mmseg.datasets import COCOImageLevelDataset

#: Of 1 to 90, these ten name no category of the 2014 release.
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = [number for number in range(1, 91) if number not in GAPS]
CLASSES = COCOImageLevelDataset.METAINFO['classes']
CATEGORIES = [dict(id=number, name=name) for number, name in zip(CATEGORY_IDS, CLASSES[1:])]


def category(name: str) -> int:
    return CATEGORY_IDS[CLASSES.index(name) - 1]


def img_id(number: int, split: str = 'val') -> str:
    return f'COCO_{split}2014_{number:012d}'


def box(x0: float, y0: float, x1: float, y1: float) -> list:
    """A rectangle as polygon; it covers the pixels of rows y0 to y1 - 1 and columns x0 to x1 - 1."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def runs(mask: np.ndarray) -> dict:
    """A mask as uncompressed run-length encoding, column by column, zeros first."""
    flat = np.concatenate([[0], mask.flatten(order='F')])
    borders = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], borders, [mask.size]])).tolist()
    return dict(size=list(mask.shape), counts=counts)


def annotation(number: int, img: int, name: str, segmentation, iscrowd: int = 0) -> dict:
    return dict(id=number, image_id=img, category_id=category(name), iscrowd=iscrowd, segmentation=segmentation)


def image(number: int, height: int = 12, width: int = 16, split: str = 'val') -> dict:
    return dict(id=number, file_name=f'{img_id(number, split)}.jpg', height=height, width=width)


def write_coco(root: Path, images: list, annotations: list, split: str = 'val', write_images: bool = True) -> Path:
    """Write annotations and, by default, grey images; return the annotation file."""
    for folder in (root / f'{split}2014', root / 'annotations'):
        folder.mkdir(parents=True, exist_ok=True)
    for item in images if write_images else []:
        grey = Image.new('RGB', (item['width'], item['height']), (128, 128, 128))
        grey.save(root / f'{split}2014' / item['file_name'])
    path = root / 'annotations' / f'instances_{split}2014.json'
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=CATEGORIES)))
    return path
