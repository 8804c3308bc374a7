"""Writing of ShapesVOC: a VOC folder of drawn images with XML annotations, masks and splits."""

import json
import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Union

import numpy as np
from numpy.random import RandomState
from PIL import Image

from ..utils import IGNORE_INDEX, save_mask, show_progress
from .shapes_drawing import Scene, draw_scene
from .voc import ShapesVOCDataset

#: Incremented with every change of the drawings, so that old folders are recognised.
VERSION = 2
SETTINGS_FILE = 'shapes_voc.json'
FOLDERS = ('JPEGImages', 'Annotations', 'SegmentationClassAug', 'ImageSets/Segmentation')


def make_shapes_voc(
    out_dir: Union[str, Path],
    num_train: int = 500,
    num_val: int = 100,
    size: int = 128,
    seed: int = 0,
) -> bool:
    """Write the ShapesVOC data set, unless it exists with the same settings.

    An image depends on its split, its number, `size` and `seed` only: a larger data set starts with the same images.
    The folder is written as `{out_dir}.unfinished` and renamed at the end, so an interrupted run starts afresh.

    Args:
        out_dir: Folder to write to; must be new or empty.
        num_train: Images in `train_aug.txt`.
        num_val: Images in `val.txt`.
        size: Side of the images in pixels.
        seed: Any number from 0 to 2**32 - 1.

    Returns:
        Whether anything was written.

    Raises:
        FileExistsError: `out_dir` holds something else, or ShapesVOC with other settings.
        ValueError: A number is out of range.
    """
    settings = dict(version=VERSION, num_train=num_train, num_val=num_val, size=size, seed=seed)
    _check_settings(settings)
    root = Path(out_dir)
    if _is_complete(root, settings):
        return False
    root = root.resolve()
    unfinished = root.with_name(f'{root.name}.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    _write_all(unfinished, settings)
    if root.is_dir():
        root.rmdir()
    os.replace(unfinished, root)
    return True


def _write_all(root: Path, settings: dict[str, int]) -> None:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    counts = dict(train_aug=settings['num_train'], val=settings['num_val'])
    ids = {split: [f'{split.split("_")[0]}_{i:06d}' for i in range(count)] for split, count in counts.items()}
    places = [
        (index, number, img_id) for index, listed in enumerate(ids.values()) for number, img_id in enumerate(listed)
    ]
    for index, number, img_id in show_progress(places, len(places), 'images'):
        _write_scene(root, img_id, draw_scene(RandomState([settings['seed'], index, number]), settings['size']))
    for split, listed in ids.items():
        (root / 'ImageSets/Segmentation' / f'{split}.txt').write_text('\n'.join(listed) + '\n')
    (root / SETTINGS_FILE).write_text(json.dumps(settings))


def class_mask(scene: Scene) -> np.ndarray:
    """Label pixels by class, 0 = background; a line of one pixel between objects or around them is 255, as in VOC.

    Shape:
        output (H, W), uint8.
    """
    classes = ShapesVOCDataset.METAINFO['classes']
    index = np.array([0] + [classes.index(name) for name in scene.names], np.uint8)
    mask = index[scene.instances]
    mask[:-1][scene.instances[:-1] != scene.instances[1:]] = IGNORE_INDEX
    mask[:, :-1][scene.instances[:, :-1] != scene.instances[:, 1:]] = IGNORE_INDEX
    return mask


def _write_scene(root: Path, img_id: str, scene: Scene) -> None:
    """Write image (JPEG), annotation (XML) and mask (palette PNG) of one scene."""
    # Full colour resolution: at this size halved chroma would wash out the borders of the objects.
    Image.fromarray(scene.image).save(root / 'JPEGImages' / f'{img_id}.jpg', quality=92, subsampling=0)
    palette = ShapesVOCDataset.METAINFO['palette']
    save_mask(class_mask(scene), palette, root / 'SegmentationClassAug' / f'{img_id}.png')
    annotation = ET.ElementTree(_annotation(img_id, scene))
    ET.indent(annotation)
    annotation.write(root / 'Annotations' / f'{img_id}.xml')


def _annotation(img_id: str, scene: Scene) -> ET.Element:
    height, width = scene.instances.shape
    root = ET.Element('annotation')
    _add(root, folder='ShapesVOC', filename=f'{img_id}.jpg', segmented=1)
    _add(ET.SubElement(root, 'size'), width=width, height=height, depth=3)
    for k, name in enumerate(scene.names, 1):
        rows, cols = np.nonzero(scene.instances == k)
        item = ET.SubElement(root, 'object')
        cut = min(rows.min(), cols.min()) == 0 or rows.max() == height - 1 or cols.max() == width - 1
        _add(item, name=name, truncated=int(cut), difficult=0)
        # VOC counts pixels from 1, and its boxes include both ends.
        box = dict(xmin=cols.min() + 1, ymin=rows.min() + 1, xmax=cols.max() + 1, ymax=rows.max() + 1)
        _add(ET.SubElement(item, 'bndbox'), **box)
    return root


def _add(parent: ET.Element, **children: Any) -> None:
    for tag, value in children.items():
        ET.SubElement(parent, tag).text = str(value)


def _check_settings(settings: dict[str, int]) -> None:
    limits = dict(num_train=(1, 10**6), num_val=(1, 10**6), size=(32, 4096), seed=(0, 2**32 - 1))
    for name, (low, high) in limits.items():
        if not low <= settings[name] <= high:
            raise ValueError(f'`{name}` of ShapesVOC is {settings[name]}; choose a whole number from {low} to {high}')


def _is_complete(root: Path, settings: dict[str, int]) -> bool:
    """Whether `root` holds a data set of these settings; raise if it holds anything else."""
    if (root / SETTINGS_FILE).is_file():
        found = json.loads((root / SETTINGS_FILE).read_text())
        if found == settings:
            return True
        raise FileExistsError(
            f'{root} holds ShapesVOC with other settings: {found}, asked for {settings}.\n'
            '  Delete it, or choose another folder.'
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f'{root} exists and is not a ShapesVOC folder (it has no {SETTINGS_FILE}).\n'
            '  Nothing was written; choose a new or empty folder.'
        )
    return False
