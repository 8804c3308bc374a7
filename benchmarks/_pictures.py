"""JPEGs made on the spot, and the data loader of a config on them."""

import json
import os
from pathlib import Path

from _inputs import make_scene
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from torch.utils.data import DataLoader

#: Of the JPEGs; together with the pictures' texture it sets how large they are.
QUALITY = 95


def write_pictures(folder: Path, count: int, height: int, width: int) -> float:
    """Write JPEGs, a split list and labels; return the mean size of the JPEGs in bytes."""
    images, _ = make_scene(count, (height, width))
    for i, image in enumerate(images.byte()):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f'{i:06d}.jpg', quality=QUALITY)
    ids = [f'{i:06d}' for i in range(count)]
    (folder / 'list.txt').write_text('\n'.join(ids))
    (folder / 'labels.json').write_text(json.dumps({i: ['cat', 'person'] for i in ids}))
    return sum(os.path.getsize(folder / f'{i}.jpg') for i in ids) / count


def build_loader(config: Config, folder: Path, workers: int = 1) -> DataLoader:
    """Build the training loader of a config on other pictures."""
    loader = config.train_dataloader.copy()
    loader.update(num_workers=workers, persistent_workers=False)
    loader.dataset.update(
        data_root=str(folder), ann_file='list.txt', label_file='labels.json', data_prefix=dict(img_path='')
    )
    return Runner.build_dataloader(loader, seed=0)
