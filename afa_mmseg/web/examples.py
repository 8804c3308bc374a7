"""Example images of the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Union

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ..apis.images import find_images

#: Number of examples of a validation set, and of a folder at most.
NUM_CHOSEN, NUM_SHOWN = 6, 24


def examples_in(folder: Union[str, Path]) -> list[Path]:
    """List the first images of a folder and its subfolders, by name.

    Raises:
        FileNotFoundError: The folder does not exist or has no images.
    """
    return [image.path for image in find_images([folder])][:NUM_SHOWN]


def examples_of(cfg: Config) -> list[Path]:
    """Choose evenly spaced images of the validation set of a config.

    Raises:
        FileNotFoundError: The data set is missing.
        ValueError: The config has none, or it cannot be read.
    """
    if cfg.get('val_dataloader') is None:
        raise ValueError('the config has no val_dataloader')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    paths = (Path(dataset.get_data_info(i)['img_path']) for i in spread(len(dataset), NUM_CHOSEN))
    return [path for path in paths if path.is_file()]


def spread(length: int, count: int) -> Sequence[int]:
    """Return at most `count` evenly spaced indices of a list.

    Example:
        >>> list(spread(10, 3)), list(spread(2, 3))
        ([0, 3, 6], [0, 1])
    """
    return [i * length // count for i in range(count)] if length > count else range(length)
