"""Masks as label files of other tools: COCO JSON, and pre-annotations of Label Studio."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from ..utils import read_mask
from ..utils.checks import import_extra
from .images import find_images
from .pseudo_labels import SETTINGS_FILE

#: File beside the masks of `infer_images` that names the foreground classes, one a line.
CLASSES_FILE = 'classes.txt'
#: Names of the tags in Label Studio's labelling configuration.
BRUSH, IMAGE = 'brush', 'image'


class LabelledImage(NamedTuple):
    """An image, its path relative to the folder of images, and its mask."""

    file_name: str
    mask: np.ndarray

    def regions(self, classes: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number of each foreground class in the mask, from 1, and its pixels, 0 or 1.

        Raises:
            ValueError: The mask has a class without a name.
        """
        for index in np.unique(self.mask).tolist():
            if len(classes) < index < 255:
                raise ValueError(f'mask of {self.file_name} has class {index}; --classes names {len(classes)}')
            if 0 < index < 255:
                yield index, (self.mask == index).astype(np.uint8)


def find_masks(masks: Path, images: Path) -> list[LabelledImage]:
    """Read the mask `masks/NAME.png` of each image in a folder that has one; 255 is ignored.

    Raises:
        FileNotFoundError: There are no images, or none has a mask.
        ValueError: A mask cannot be read.
    """
    pairs = [(image.path, masks / f'{image.name}.png') for image in find_images([images], without=[masks])]
    found = [
        LabelledImage(Path(os.path.relpath(path, images)).as_posix(), read_mask(mask))
        for path, mask in pairs
        if mask.is_file()
    ]
    if not found:
        raise FileNotFoundError(f'no masks in {masks}: expected {pairs[0][1]} for {pairs[0][0]} (--images)')
    return found


def read_class_names(masks: Path) -> list[str]:
    """Read the names of the foreground classes that `infer.py` or `export_pseudo_labels.py` wrote beside masks.

    Raises:
        ValueError: There are none.
    """
    settings, names = masks / SETTINGS_FILE, masks.parent / CLASSES_FILE
    if settings.is_file():
        return json.loads(settings.read_text(encoding='utf-8'))['classes'][1:]
    if names.is_file():
        return names.read_text(encoding='utf-8').splitlines()
    raise ValueError(f'class names are unknown: neither {settings} nor {names} exists; name them by --classes cat,dog')


def to_coco(images: Sequence[LabelledImage], classes: Sequence[str]) -> dict[str, Any]:
    """Convert masks to COCO's instances JSON: one annotation for each class in an image, as compressed RLE.

    Raises:
        ModuleNotFoundError: pycocotools is missing.
    """
    coco = import_extra('pycocotools.mask', 'labels')
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for index, pixels in image.regions(classes):
            rle = coco.encode(np.asfortranarray(pixels))
            segmentation = dict(size=list(map(int, rle['size'])), counts=rle['counts'].decode('ascii'))
            boxes = dict(area=int(coco.area(rle)), bbox=coco.toBbox(rle).tolist(), iscrowd=0)
            number = len(annotations) + 1
            annotations.append(
                dict(id=number, image_id=image_id, category_id=index, segmentation=segmentation, **boxes)
            )
    return dict(
        images=[
            dict(id=i, file_name=image.file_name, height=image.mask.shape[0], width=image.mask.shape[1])
            for i, image in enumerate(images, 1)
        ],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(classes, 1)],
    )


def to_label_studio(images: Sequence[LabelledImage], classes: Sequence[str], prefix: str) -> list[dict[str, Any]]:
    """Convert masks to tasks of Label Studio with pre-annotations, a brush region for each class in an image.

    Args:
        images: Images and masks.
        classes: Names of the foreground classes.
        prefix: Put before the path of each image (escaped), for the address that Label Studio loads it from.

    Raises:
        ModuleNotFoundError: label-studio-converter is missing.
    """
    brush = import_extra('label_studio_converter.brush', 'labels')
    tasks = []
    for image in images:
        height, width = image.mask.shape
        place = dict(from_name=BRUSH, to_name=IMAGE, original_width=width, original_height=height, image_rotation=0)
        regions = []
        for index, pixels in image.regions(classes):
            value = dict(format='rle', rle=brush.mask2rle(255 * pixels), brushlabels=[classes[index - 1]])
            regions.append(dict(id=str(index), type='brushlabels', value=value, **place))
        prediction = dict(model_version='afa_mmseg', result=regions)
        tasks.append(dict(data={IMAGE: prefix + quote(image.file_name)}, predictions=[prediction]))
    return tasks


def labelling_config(classes: Sequence[str]) -> str:
    """Return the labelling configuration of Label Studio that the tasks of `to_label_studio` require."""
    labels = '\n'.join(f'    <Label value={quoteattr(name)}/>' for name in classes)
    return (
        f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>\n'
        f'  <BrushLabels name="{BRUSH}" toName="{IMAGE}">\n{labels}\n  </BrushLabels>\n</View>\n'
    )
