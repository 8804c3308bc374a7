"""Example images of the page."""

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
    step = max(1, -(-len(dataset) // NUM_CHOSEN))
    paths = (Path(dataset.get_data_info(i)['img_path']) for i in range(0, len(dataset), step))
    return [path for path in paths if path.is_file()]
