"""Example images of the page."""

from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ..apis.images import find_images

#: Number of examples of a validation set, and of a folder at most.
NUM_CHOSEN, NUM_SHOWN = 6, 24


def find_examples(cfg: Config, folder: Optional[str] = None) -> list[Path]:
    """List the first images of a folder, by name, or else evenly spaced ones of the validation set of a config.

    If the validation set cannot be read, there are none, and the reason is printed.

    Raises:
        FileNotFoundError: The folder does not exist or has no images.
    """
    if folder is not None:
        return [image.path for image in find_images([folder])][:NUM_SHOWN]
    try:
        if cfg.get('val_dataloader') is None:
            raise ValueError('the config has no val_dataloader')
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        step = max(1, -(-len(dataset) // NUM_CHOSEN))
        paths = [Path(dataset.get_data_info(i)['img_path']) for i in range(0, len(dataset), step)]
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        print(f'no example images: the validation set cannot be read ({reason}); use --examples DIR')
        return []
    return [path for path in paths if path.is_file()]
