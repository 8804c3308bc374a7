"""VOC-Animals: the images of VOC 2012 that hold six classes only, smaller, with their own label file and masks."""

import functools
from pathlib import Path
from typing import Optional

import numpy as np
from PIL import Image

from ...utils import IGNORE_INDEX, atomic_path, read_mask, run_parallel, save_mask, write_text
from ...utils.checks import first_few, require_files
from ..voc import VOCImageLevelDataset, read_voc_xml

#: Foreground classes, in the order of the columns of labels.csv and of the masks' values.
CLASSES = ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
#: Long side in pixels, and quality of the JPEG files.
LONG_SIDE, QUALITY = 352, 86
#: Every which image of the training list is held out for looking at settings, and which one is the first.
TUNE_EVERY, TUNE_FIRST = 13, 6


def read_ids(split: str) -> list[str]:
    """Return the ids of a split, 'train' (2 651) or 'val' (280)."""
    return Path(__file__).with_name(f'voc_animals_{split}.txt').read_text(encoding='utf-8').split()


def make_voc_animals(
    voc: Path, out: Path, ids: Optional[dict[str, list[str]]] = None, num_workers: Optional[int] = None
) -> str:
    """Write images, masks, labels and lists of VOC-Animals.

    Labels are those of the XML files, difficult objects included. `fit.txt` and `tune.txt` divide `train.txt`, for
    looking at settings without the validation list.

    Args:
        voc: Folder `VOC2012` with `JPEGImages`, `Annotations` and `SegmentationClassAug` (`prepare_voc.py` makes it).
        out: Folder to write.
        ids: Ids of 'train' and 'val', by default those of the project.
        num_workers: Processes; 0 uses this one only; by default one per CPU.

    Returns:
        A line that sums it up.

    Raises:
        FileNotFoundError: Files of `voc` are missing.
        ValueError: An image's label or mask holds another class than the six, or none of them.
    """
    splits = ids or {split: read_ids(split) for split in ('train', 'val')}
    all_ids = [*splits['train'], *splits['val']]
    for folder, suffix in (('JPEGImages', '.jpg'), ('Annotations', '.xml'), ('SegmentationClassAug', '.png')):
        remedy = 'Complete the folder: python tools/dataset_converters/prepare_voc.py (docs/data.md).'
        require_files(str(voc / folder), all_ids, suffix, 'VOC-Animals', remedy)
    labels = {img_id: read_labels(voc / 'Annotations' / f'{img_id}.xml') for img_id in all_ids}
    run_parallel(functools.partial(_convert, voc, out), all_ids, 'images', num_workers)
    rows = [','.join([i, *(str(int(name in labels[i])) for name in CLASSES)]) for i in all_ids]
    write_text(out / 'labels.csv', '\n'.join([','.join(['id', *CLASSES]), *rows]) + '\n')
    tune = list(splits['train'][TUNE_FIRST::TUNE_EVERY])
    lists = dict(splits, tune=tune, fit=[i for i in splits['train'] if i not in set(tune)])
    for name, listed in lists.items():
        write_text(out / f'{name}.txt', ''.join(f'{i}\n' for i in listed))
    return f'{out}: {", ".join(f"{len(listed)} in {name}.txt" for name, listed in lists.items())}'


def read_labels(path: Path) -> set[str]:
    """Return the classes of an annotation file.

    Raises:
        ValueError: It holds another class than the six, or no object.
    """
    names = set(read_voc_xml(path))
    if not names or names - set(CLASSES):
        raise ValueError(
            f'{path} holds {first_few(sorted(names)) or "no object"}, VOC-Animals only {", ".join(CLASSES)}: '
            'is this VOC 2012?'
        )
    return names


def _convert(voc: Path, out: Path, img_id: str) -> None:
    """Write the smaller image and mask of one id."""
    with Image.open(voc / 'JPEGImages' / f'{img_id}.jpg') as file:
        image = file.convert('RGB')
    size = scaled_size(*image.size)
    with atomic_path(out / 'images' / f'{img_id}.jpg') as temporary:
        image.resize(size, Image.Resampling.LANCZOS).save(temporary, quality=QUALITY)
    mask_file = voc / 'SegmentationClassAug' / f'{img_id}.png'
    mask = reindexed(read_mask(mask_file), str(mask_file))
    small = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    # VOC's first colours, as `ImageLevelDataset` shows classes without a palette.
    palette = VOCImageLevelDataset.METAINFO['palette'][: len(CLASSES) + 1]
    save_mask(small, palette, out / 'masks' / f'{img_id}.png')


def scaled_size(width: int, height: int) -> tuple[int, int]:
    """Return the size with the long side at `LONG_SIDE`.

    Example:
        >>> scaled_size(500, 333)
        (352, 234)
    """
    scale = LONG_SIDE / max(width, height)
    return round(width * scale), round(height * scale)


def reindexed(mask: np.ndarray, name: str) -> np.ndarray:
    """Replace VOC's class indices by those of the six classes.

    Raises:
        ValueError: The mask holds another class.
    """
    table = np.full(256, 254, np.uint8)  # 254: not in VOC-Animals
    table[0], table[IGNORE_INDEX] = 0, IGNORE_INDEX
    for index, class_name in enumerate(CLASSES, start=1):
        table[VOCImageLevelDataset.METAINFO['classes'].index(class_name)] = index
    result = table[mask]
    if (result == 254).any():
        found = np.unique(mask[result == 254]).tolist()
        raise ValueError(f'mask {name} holds class indices {found}, which are none of {", ".join(CLASSES)}')
    return result
