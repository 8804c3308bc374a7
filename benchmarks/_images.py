"""JPEGs made on the spot, and the data loader of a config on them."""

import json
import os
from pathlib import Path

from _inputs import make_scene
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

#: Of the JPEGs; together with the images' texture it sets how large they are.
QUALITY = 95


def write_images(config: Config, folder: Path, count: int, height: int, width: int) -> float:
    """Write JPEGs, a split list and labels for a config's data set; return the mean size of the JPEGs in bytes."""
    images, _ = make_scene(count, (height, width))
    for i, image in enumerate(images.byte()):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f'{i:06d}.jpg', quality=QUALITY)
    ids = [f'{i:06d}' for i in range(count)]
    (folder / 'list.txt').write_text('\n'.join(ids))
    (folder / 'labels.json').write_text(json.dumps(dict.fromkeys(ids, _two_classes(config))))
    return sum(os.path.getsize(folder / f'{i}.jpg') for i in ids) / count


def _two_classes(config: Config) -> list[str]:
    """Name two classes of a config's data set; one that takes its classes from the labels has any."""
    classes = DATASETS.get(config.train_dataloader.dataset.type).METAINFO.get('classes')
    return list(classes[1:3]) if classes else ['cat', 'person']


def build_loader(config: Config, folder: Path, workers: int = 1) -> DataLoader:
    """Build the training loader of a config on other images."""
    loader = config.train_dataloader.copy()
    loader.update(num_workers=workers, persistent_workers=False)
    loader.dataset.update(
        data_root=str(folder), ann_file='list.txt', label_file='labels.json', data_prefix=dict(img_path='')
    )
    return Runner.build_dataloader(loader, seed=0)
