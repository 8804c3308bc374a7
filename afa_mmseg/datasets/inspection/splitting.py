"""A training and a validation list for images that have none."""

import hashlib
from pathlib import Path
from typing import Union

from ...utils import write_text
from .checks import Inspection

TRAIN_LIST, VAL_LIST = 'train.txt', 'val.txt'


def write_split_lists(
    inspection: Inspection, folder: Union[str, Path], val_share: float, seed: int = 0
) -> tuple[list[str], list[str], bool]:
    """Write `train.txt` and `val.txt`; the same images and seed give the same lists, whatever the ids.

    Images are ordered by a hash of seed and pixels, so copies of an image go to the same list, and most
    images keep their list when others are added.

    Args:
        inspection: Of one split.
        folder: Where to write.
        val_share: Part of the images for validation, between 0 and 1; at least one image, and not all.
        seed: Any number.

    Returns:
        Ids for training, ids for validation, and whether anything was written.

    Raises:
        ValueError: `val_share` is out of range, there are errors or too few images, or other lists exist.
    """
    if not 0 < val_share < 1:
        raise ValueError(f'share of images for validation: {val_share} is not between 0 and 1; 0.1 is usual')
    if inspection.num_errors or len(inspection.splits) != 1:
        raise ValueError('no split lists written: correct the errors first')
    (split,) = inspection.splits
    digests = {i: inspection.facts[path].digest for i, path in split.paths.items()}
    keys = {i: hashlib.blake2b(f'{seed}:{digest}'.encode()).hexdigest() for i, digest in digests.items()}
    ordered = sorted(keys, key=lambda i: (keys[i], i))
    end = min(max(round(val_share * len(ordered)), 1), len(ordered) - 1)
    while 0 < end < len(ordered) and keys[ordered[end]] == keys[ordered[end - 1]]:
        end += 1
    train, val = sorted(ordered[end:]), sorted(ordered[:end])
    if not train or not val:
        raise ValueError(f'no split lists written: too few different images: {len(set(digests.values()))}')
    files = {Path(folder) / TRAIN_LIST: train, Path(folder) / VAL_LIST: val}
    texts = {file: ''.join(f'{i}\n' for i in ids) for file, ids in files.items()}
    for file, text in texts.items():
        if file.exists() and file.read_text(encoding='utf-8') != text:
            raise ValueError(f'{file} exists and differs; delete it, or keep the split as it is')
    written = [write_text(file, text) for file, text in texts.items()]
    return train, val, any(written)
