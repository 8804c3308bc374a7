"""Loading of a trained segmentor from its config and checkpoint."""

from pathlib import Path
from typing import Any, Union

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import DATASETS, MODELS

from ..engine.config_check import check_config
from ..engine.options import load_config
from ..models import ImageLevelSegmentor
from ..models.checkpoints import load_state
from ..utils.checkpoints import named, read_checkpoint, state_of
from ..utils.checks import check_class_count
from ..utils.masks import voc_palette


def read_config(config: Union[str, Path, Config, dict]) -> Config:
    """Read a config file, or copy a loaded config.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if isinstance(config, (str, Path)):
        return load_config(str(config))
    return Config(config.to_dict() if isinstance(config, Config) else dict(config))


def load_segmentor(config: Config, checkpoint: Union[str, Path], device: str = 'cpu') -> ImageLevelSegmentor:
    """Build the segmentor of a config with the weights of a checkpoint, in evaluation mode, without executing its code.

    As with mmseg's `init_model`, the model has the config in `cfg`, and classes and palette in `dataset_meta`: those
    of the checkpoint, else those of the config's data set.

    Args:
        config: Of a segmentor with CAMs; not modified.
        checkpoint: File, of training or published.
        device: Name of a PyTorch device.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be read or does not match the config; a key of the config is unexpected; the segmentor
            has no CAMs; the device is not available.
    """
    check_device(device)
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    init_default_scope(config.get('default_scope', 'mmseg'))
    check_config(config)
    content = read_checkpoint(checkpoint)
    backbone = {**config.model['backbone'], 'init_cfg': None}  # weights are those of the checkpoint
    model = MODELS.build({**config.model, 'backbone': backbone, 'pretrained': None})
    if not hasattr(model, 'explain'):
        raise ValueError(
            f'model.type {type(model).__name__} has no CAMs (no method `explain`): '
            'use the config of a segmentor trained on image-level labels'
        )
    with named(checkpoint):
        load_state(model, state_of(content))
    meta = content.get('meta')
    model.dataset_meta = (meta.get('dataset_meta') if isinstance(meta, dict) else None) or _dataset_meta(config)
    check_class_count(model.decode_head.num_classes, model.dataset_meta['classes'], 'the data set')
    model.cfg = config
    return model.to(device).eval()


def check_device(device: str) -> None:
    """Raise a `ValueError` that lists the available devices, unless PyTorch can compute on this one."""
    gpus = [f'cuda:{number}' for number in range(torch.cuda.device_count())]
    try:
        place = torch.device(device)
        # Of a GPU no memory is allocated.
        is_usable = (place.index or 0) < len(gpus) if place.type == 'cuda' else not torch.zeros(1, device=place).item()
    except (RuntimeError, AssertionError, ImportError):  # each kind of device has its own
        is_usable = False
    if not is_usable:
        found = f'finds only {", ".join(gpus)}' if gpus else 'finds no GPU'
        raise ValueError(f'device {device!r} (--device): PyTorch {found} here; use {" or ".join(["cpu", *gpus])}')


def _dataset_meta(config: Config) -> dict[str, Any]:
    """Return classes and palette of the config's data set, without opening its files."""
    dataset = config.test_dataloader.dataset
    meta = {**getattr(DATASETS.get(dataset.type), 'METAINFO', {}), **dataset.get('metainfo', {})}
    if not meta.get('classes'):
        raise ValueError('no class names in the checkpoint or in test_dataloader.dataset.metainfo')
    return dict(classes=tuple(meta['classes']), palette=meta.get('palette') or voc_palette(len(meta['classes'])))
