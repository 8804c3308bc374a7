"""What a run on checked images needs: split lists and a config."""

import hashlib
import os.path as osp
import re
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

from mmengine.config import Config

from ...utils import write_text
from ...utils.package_files import config_folder, find_config
from ..images import read_ids
from .sources import Inspection

#: Template of the config, and the config that it inherits from by default.
TEMPLATE, BASE = 'afa_mit-b1_custom.py', 'afa_mit-b1_voc'
#: Iterations for as many images as published (VOC 2012 with SBD), and their limits.
PUBLISHED, NUM_IMAGES, FEWEST, MOST = 20_000, 10_582, 2_000, 80_000


def write_split_lists(
    inspection: Inspection, folder: Union[str, Path], val_share: float, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Write `train.txt` and `val.txt`, and return their ids; images and seed decide, whatever the ids are.

    Images are ordered by a hash of seed and pixels: copies of an image go to the same list, and most images keep theirs
    when others are added.

    Args:
        inspection: Of one split.
        folder: Where to write.
        val_share: Part of the images for validation, between 0 and 1; at least one image, and not all.
        seed: Any number.

    Raises:
        ValueError: `val_share` is out of range, there are errors or too few images, or other lists exist.
    """
    if not 0 < val_share < 1:
        raise ValueError(f'share of images for validation: {val_share} is not between 0 and 1; 0.1 is usual')
    if inspection.num_errors or len(inspection.splits) != 1:
        raise ValueError('no split lists written: correct the errors first')
    digests = {i: inspection.facts[path].digest for i, path in inspection.splits[0].paths.items()}
    keys = {i: hashlib.blake2b(f'{seed}:{digest}'.encode()).hexdigest() for i, digest in digests.items()}
    ordered = sorted(keys, key=lambda i: (keys[i], i))
    end = min(max(round(val_share * len(ordered)), 1), len(ordered) - 1)
    while 0 < end < len(ordered) and keys[ordered[end]] == keys[ordered[end - 1]]:
        end += 1
    train, val = sorted(ordered[end:]), sorted(ordered[:end])
    if not train or not val:
        raise ValueError(f'no split lists written: too few different images: {len(set(digests.values()))}')
    texts = [''.join(f'{i}\n' for i in ids) for ids in (train, val)]
    lists = dict(zip((Path(folder, 'train.txt'), Path(folder, 'val.txt')), texts))
    for file, text in lists.items():
        if file.exists() and file.read_text(encoding='utf-8') != text:
            raise ValueError(f'{file} exists and differs; delete it, or name the lists: --list train.txt val.txt')
    for file, text in lists.items():
        write_text(file, text)
    return train, val


class DataFiles(NamedTuple):
    """Paths of a data set: images, labels, split lists for training and validation, and masks, if there are any."""

    img_dir: str
    label_file: str
    train_list: str
    val_list: str
    mask_dir: str = ''

    def settings(self) -> dict[str, Union[str, int]]:
        """Return the settings of the template that name files: `data_root`, absolute, and paths from there."""
        root = osp.commonpath([osp.abspath(file) for file in self if file])
        paths = {name: osp.relpath(file, root) if file else '' for name, file in self._asdict().items()}
        return dict(data_root=root, **paths)


def write_config(
    path: Union[str, Path],
    inspection: Inspection,
    files: DataFiles,
    base: Optional[str] = None,
    max_iters: Optional[int] = None,
    long_side: Optional[int] = None,
) -> int:
    """Write a config for checked images, the template with its settings filled in; return its iterations.

    The config works from any folder.

    Args:
        path: File to write, that ends in `.py`.
        inspection: Of the images; names the classes.
        files: Of the data set.
        base: Name of the config to inherit from; default: the published one.
        max_iters: Iterations; default: in proportion to those published, but at least 2 000.
        long_side: Side in pixels of images and crops; default: that of the template.

    Raises:
        FileExistsError: The file exists and differs.
        FileNotFoundError: There is no such base.
        ValueError: The name does not end in `.py`, or the base is no config of AFA.
    """
    path = Path(path)
    if path.suffix != '.py':
        raise ValueError(f'config to write: {path} does not end in .py')
    proportional = round(len(read_ids(files.train_list)) * PUBLISHED / NUM_IMAGES, -2)
    settings: dict[str, Any] = dict(max_iters=max_iters or int(min(max(proportional, FEWEST), MOST)))
    if long_side is not None:
        settings['long_side'] = long_side
    num_classes = len(inspection.splits[0].classes)
    text = fill_template(_checked(base or BASE), **files.settings(), num_classes=num_classes, **settings)
    if path.exists() and path.read_text(encoding='utf-8') != text:
        raise FileExistsError(f'{path} exists and differs; delete it, or name another file')
    write_text(path, text)
    return settings['max_iters']


def _checked(base: str) -> str:
    """Return the name of a config that the template can inherit from."""
    if 'cls_only_until' not in Config.fromfile(find_config(base)).model.get('train_cfg', {}):
        raise ValueError(f'base {base}: its model has no train_cfg.cls_only_until; name a config of AFA')
    return base


def fill_template(base: str = BASE, **settings: Union[str, int]) -> str:
    """Return the text of the template for one's own images with another base and other settings.

    Raises:
        KeyError: The template has no such setting.
    """
    text = (config_folder() / 'afa' / TEMPLATE).read_text(encoding='utf-8')
    for name, value in {**settings, '_base_': osp.abspath(find_config(base))}.items():
        line = f'{name} = {value!r}'.replace('\\', r'\\')
        text, count = re.subn(rf'^{name} = .*?(?=  #|$)', line, text, flags=re.MULTILINE)
        if count != 1:
            raise KeyError(f'{TEMPLATE} has no line {name} = ...')
    return text
