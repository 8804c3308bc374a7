"""Image-level labels of some of the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Union

import torch
from torch import Tensor

from ...datasets.label_files import read_classes, read_label_file
from ...utils.checks import first_few
from .crops import plain_id


def read_tags(path: Union[str, Path], images: Sequence[Path]) -> Tensor:
    """Read the classes of images from a label file.

    Args:
        path: See `read_label_file`; ids are the names of image files in any folder, suffixes may be left out.
        images: Image files; others in the file are passed over.

    Shape:
        output (N, classes): 1 for each class that an image has, else 0; nan where the file does not name it.

    Raises:
        ValueError: The file is malformed, names none of the images, or an id is that of several.
    """
    classes = read_classes(path)
    labels = {plain_id(img_id): names for img_id, names in read_label_file(path, classes).items()}
    names = [plain_id(image.name) for image in images]
    tagged = [name for name in names if name in labels]
    several = sorted({name for name in tagged if tagged.count(name) > 1}) if len({*tagged}) < len(tagged) else []
    if several or not tagged:
        found = f'{first_few(several)}: ids of several images' if several else f'none of the {len(images)} images'
        raise ValueError(f'label file {path}: {found}. Ids are the names of image files; rename, or leave some out')
    missing = torch.full((len(classes),), torch.nan)
    return torch.stack(
        [torch.tensor([float(c in labels[n]) for c in classes]) if n in labels else missing for n in names]
    )
