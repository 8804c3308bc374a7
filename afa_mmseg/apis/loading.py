"""A config and a checkpoint as a network that is ready to use."""

from pathlib import Path
from typing import Any, Union

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import DATASETS, MODELS

from ..datasets.palette import voc_palette
from ..engine.config_check import check_config
from ..engine.options import load_config
from ..models import ImageLevelSegmentor
from ..models.checkpoints import load_state
from ..models.checkpoints.reading import named, read_checkpoint, state_of
from ..utils.checks import check_class_count


def read_config(config: Union[str, Path, Config, dict]) -> Config:
    """Read a config file, or copy what was read from one.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if isinstance(config, (str, Path)):
        return load_config(str(config))
    return Config(config.to_dict() if isinstance(config, Config) else dict(config))


def load_segmentor(config: Config, checkpoint: Union[str, Path], device: str = 'cpu') -> ImageLevelSegmentor:
    """Build the network of a config with the weights of a checkpoint, in evaluation mode; no file may run code.

    As mmseg's `init_model` has it, the model's `cfg` is the config, and its `dataset_meta` says classes and palette:
    those of the checkpoint, else those of the config's data set.

    Args:
        config: Left as it is.
        checkpoint: Of training or published; a file.
        device: Where the network goes, as PyTorch names it.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It cannot be read, or is not that of a network of this config; a key of the config is misspelt; the
            config's segmentor does not learn from image-level labels; there is no such device.
    """
    check_device(device)
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    init_default_scope(config.get('default_scope', 'mmseg'))
    check_config(config)
    content = read_checkpoint(checkpoint)
    model = MODELS.build(_without_pretrained(config.model))
    if not isinstance(model, ImageLevelSegmentor):
        raise ValueError(
            f'model.type of the config is {type(model).__name__}, which makes no CAMs: '
            'give the config of a ImageLevelSegmentor'
        )
    with named(checkpoint):
        load_state(model, state_of(content))
    meta = content.get('meta')
    model.dataset_meta = (meta.get('dataset_meta') if isinstance(meta, dict) else None) or _dataset_meta(config)
    check_class_count(model.decode_head.num_classes, model.dataset_meta['classes'], 'the data set')
    model.cfg = config
    return model.to(device).eval()


def check_device(device: str) -> None:
    """Raise a `ValueError` that says what there is, unless PyTorch can compute on a device."""
    gpus = [f'cuda:{number}' for number in range(torch.cuda.device_count())]
    if not _is_usable(device, len(gpus)):
        found = f'finds only {", ".join(gpus)}' if gpus else 'finds no GPU'
        raise ValueError(f'device {device!r} (--device): PyTorch {found} here; use {" or ".join(["cpu", *gpus])}')


def _is_usable(device: str, num_gpus: int) -> bool:
    """Ask PyTorch, but do not take memory of GPUs, which other processes may be about to use."""
    try:
        place = torch.device(device)
        return (place.index or 0) < num_gpus if place.type == 'cuda' else torch.zeros(1, device=place).item() == 0
    except (RuntimeError, AssertionError, ImportError):  # each kind of device has its own
        return False


def _without_pretrained(model: dict) -> dict[str, Any]:
    """Leave out the file that the backbone would start from."""
    return {**model, 'backbone': {**model['backbone'], 'init_cfg': None}, 'pretrained': None}


def _dataset_meta(config: Config) -> dict[str, Any]:
    """Look classes and palette up in the config's data set, without opening any of its files."""
    dataset = config.test_dataloader.dataset
    meta = {**getattr(DATASETS.get(dataset.type), 'METAINFO', {}), **dataset.get('metainfo', {})}
    if not meta.get('classes'):
        raise ValueError('neither the checkpoint nor test_dataloader.dataset.metainfo names the classes')
    return dict(classes=tuple(meta['classes']), palette=meta.get('palette') or voc_palette(len(meta['classes'])))
