"""Image-level labels of some of the images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional, Union

import torch
from torch import Tensor

from ...datasets.label_files import read_classes, read_label_file
from ...utils.checks import first_few
from .crops import plain_id


def read_tags(path: Union[str, Path], images: Sequence[Path]) -> Tensor:
    """Read the classes of images from a label file.

    Args:
        path: See `read_label_file`; ids are the names of image files, with their folders where names are not
            unique; suffixes may be left out.
        images: Image files; others in the file are passed over.

    Shape:
        output (N, classes): 1 for each class that an image has, else 0; nan where the file does not name it.

    Raises:
        ValueError: The file is malformed, names none of the images, or an id is that of several, or two are of one.
    """
    classes = read_classes(path)
    labels: dict[str, list[str]] = {}
    for img_id, names in read_label_file(path, classes).items():
        plain = plain_id(img_id.replace('\\', '/'))
        if plain in labels:
            raise ValueError(f'label file {path}: {img_id!r} occurs twice, with different suffixes: leave one out')
        labels[plain] = names
    ids = [_find(image, labels) for image in images]
    several = [img_id for img_id, count in Counter(filter(None, ids)).items() if count > 1]
    if several or not any(ids):
        found = f'{first_few(several)}: ids of several images' if several else f'none of the {len(images)} images'
        raise ValueError(f'label file {path}: {found}. Ids are names of image files, with their folders where needed')
    missing = torch.full((len(classes),), torch.nan)
    tags = {img_id: torch.tensor([float(name in names) for name in classes]) for img_id, names in labels.items()}
    return torch.stack([missing if img_id is None else tags[img_id] for img_id in ids])


def _find(image: Path, labels: Mapping[str, object]) -> Optional[str]:
    """Return the longest end of a path that is an id."""
    ends = (plain_id('/'.join(image.parts[start:])) for start in range(len(image.parts)))
    return next((end for end in ends if end in labels), None)
