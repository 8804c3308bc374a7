"""Writers of small downloads: VOC 2012, SBD, and the zip of masks."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from afa_mmseg.datasets import VOCImageLevelDataset
from tests.datasets.files import write_image

CLASSES = VOCImageLevelDataset.METAINFO['classes']
WIDTH, HEIGHT = 56, 40

#: Objects of each image: class and box, 1-based and inclusive, as in VOC's XML.
IMAGES = {
    '2007_000001': [('cat', (3, 5, 20, 30)), ('dog', (25, 10, 50, 38))],
    '2008_000002': [('person', (10, 2, 30, 39))],
    '2008_000003': [('tvmonitor', (40, 20, 56, 40)), ('aeroplane', (1, 1, 12, 8)), ('tvmonitor', (20, 20, 30, 30))],
    '2009_000004': [('sofa', (5, 20, 50, 40))],
    '2009_000005': [],
}
VOC_TRAIN, VOC_VAL = ['2007_000001'], ['2009_000005', '2009_000004']
SBD_TRAIN, SBD_VAL = ['2008_000002', '2009_000004'], ['2008_000003']
#: In the order of the list that is made.
TRAIN_AUG = ['2007_000001', '2008_000002', '2008_000003']
LABELS = {
    '2007_000001': ['cat', 'dog'],
    '2008_000002': ['person'],
    '2008_000003': ['aeroplane', 'tvmonitor'],
    '2009_000004': ['sofa'],
    '2009_000005': [],
}


def draw_mask(objects: list, outline: bool = True) -> np.ndarray:
    """Fill the boxes of objects, with a void outline as VOC's masks have it."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, (left, top, right, bottom) in objects:
        mask[top - 1 : bottom, left - 1 : right] = 255
        edge = 1 if outline else 0
        mask[top - 1 + edge : bottom - edge, left - 1 + edge : right - edge] = CLASSES.index(name)
    return mask


def write_png(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    image.putpalette(list(range(256)) * 3)
    image.save(path)


def write_annotation(path: Path, objects: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    items = ''.join(
        f'<object><name>{name}</name><difficult>1</difficult><bndbox>'
        f'<xmax>{box[2]}</xmax><xmin>{box[0]}</xmin><ymax>{box[3]}</ymax><ymin>{box[1]}.0</ymin></bndbox>'
        '<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>'
        for name, box in objects
    )
    size = f'<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>'
    path.write_text(f'<annotation><filename>{path.stem}.jpg</filename>{size}{items}</annotation>')


def write_list(path: Path, ids: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{i}\n' for i in ids))


def write_voc(folder: Path) -> Path:
    """Write VOC 2012 as unpacked; return the folder VOC2012."""
    root = folder / 'VOCdevkit' / 'VOC2012'
    for seed, (img_id, objects) in enumerate(IMAGES.items()):
        write_image(root / 'JPEGImages' / f'{img_id}.jpg', HEIGHT, WIDTH, seed)
        write_annotation(root / 'Annotations' / f'{img_id}.xml', objects)
    for img_id in [*VOC_TRAIN, *VOC_VAL]:
        write_png(root / 'SegmentationClass' / f'{img_id}.png', draw_mask(IMAGES[img_id]))
    write_list(root / 'ImageSets/Segmentation/train.txt', VOC_TRAIN)
    write_list(root / 'ImageSets/Segmentation/val.txt', VOC_VAL)
    return root


def write_mat(path: Path, mask: np.ndarray, name: str = 'GTcls', field: str = 'Segmentation') -> None:
    """Write a mask as SBD has it: a struct in whose fields cells and matrices stand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = np.zeros((1, 1), [('Boundaries', object), (field, object), ('CategoriesPresent', object)])
    boundaries = np.empty((20, 1), object)
    boundaries[:] = [[np.eye(3)]] * 20
    content[0, 0] = (boundaries, mask, np.unique(mask[mask > 0])[:, None])
    savemat(path, {name: content}, do_compression=True)


def write_sbd(folder: Path) -> Path:
    """Write SBD, without outlines as it is; return the folder benchmark_RELEASE."""
    data = folder / 'benchmark_RELEASE' / 'dataset'
    for img_id in [*SBD_TRAIN, *SBD_VAL]:
        write_mat(data / 'cls' / f'{img_id}.mat', draw_mask(IMAGES[img_id], outline=False))
    write_list(data / 'train.txt', SBD_TRAIN)
    write_list(data / 'val.txt', SBD_VAL)
    return data.parent


def write_zip(path: Path, ids=tuple(IMAGES), **extra: bytes) -> Path:
    """Write the zip of masks with what file managers add; `extra` entries come on top."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('SegmentationClassAug/', b'')
        for img_id in ids:
            write_png(path.parent / 'mask.png', draw_mask(IMAGES[img_id]))
            archive.write(path.parent / 'mask.png', f'SegmentationClassAug/{img_id}.png')
        for name, data in {
            '__MACOSX/SegmentationClassAug/._x.png': b'x',
            'SegmentationClassAug/.DS_Store': b'x',
        }.items():
            archive.writestr(name, data)
        for name, data in extra.items():
            archive.writestr(name, data)
    (path.parent / 'mask.png').unlink(missing_ok=True)
    return path


def multiply(root: Path, sbd: Path, times: int) -> list:
    """Add `times` images of which only SBD has masks, all alike; return their ids."""
    ids = [f'2010_{index:06d}' for index in range(times)]
    for img_id in ids:
        os.link(root / 'JPEGImages/2008_000003.jpg', root / f'JPEGImages/{img_id}.jpg')
        os.link(sbd / 'dataset/cls/2008_000003.mat', sbd / f'dataset/cls/{img_id}.mat')
        write_annotation(root / f'Annotations/{img_id}.xml', IMAGES['2008_000003'])
    write_list(sbd / 'dataset/train.txt', [*SBD_TRAIN, *ids])
    return ids


def labels_of(root: Path) -> dict:
    return json.loads((root / 'cls_labels.json').read_text())


def report_of(root: Path) -> dict:
    return json.loads((root / 'cls_labels_report.json').read_text())


def state(folder: Path) -> dict:
    """Content and time of all files."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob('*') if path.is_file()}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
