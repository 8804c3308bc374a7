"""Loading of a trained segmentor from its config and checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import DATASETS, MODELS

from ..engine.config_check import check_config, naming_config
from ..engine.options import load_config
from ..models.checkpoints import load_state
from ..utils.checkpoints import named, read_checkpoint, state_of, strict_loading
from ..utils.checks import check_class_count
from ..utils.masks import voc_palette


def read_config(config: Union[str, Path, Config, dict]) -> Config:
    """Read a config file, or copy a loaded config.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if isinstance(config, (str, Path)):
        return load_config(str(config))
    if isinstance(config, Config):
        return Config(config.to_dict(), cfg_text=config.text, filename=config.filename)
    return Config(dict(config))


def init_model(
    config: Union[str, Path, Config], checkpoint: Union[str, Path], device: str = 'cpu', *, requires_cams: bool = False
) -> BaseSegmentor:
    """Build the segmentor of a config with the weights of a checkpoint, in evaluation mode, without executing its code.

    As with mmseg's `init_model`, the model has the config in `cfg`, and classes and palette in `dataset_meta`: those
    of the checkpoint, else those of the config. mmseg's own function unpickles the checkpoint, and so runs what it
    holds, and only warns of weights that do not fit.

    Args:
        config: File, Python or published JSON, or a loaded config, which is not modified.
        checkpoint: File, or a published folder.
        device: Name of a PyTorch device.
        requires_cams: Refuse segmentors without `explain`.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be read or does not match the config; the model cannot be built; the segmentor has no
            CAMs; the device is not available.
    """
    check_device(device)
    config, content = read_config(config), read_checkpoint(checkpoint)
    with naming_config(config.filename or 'the config'):
        model = _build(config)
    if requires_cams and not hasattr(model, 'explain'):
        raise ValueError(
            f'model.type {type(model).__name__} has no CAMs (no method `explain`): use the config of a segmentor '
            'trained on image-level labels; `afa infer --what pred` segments with any'
        )
    with named(checkpoint):
        load_state(model, state_of(content))
    model.dataset_meta = _dataset_meta(content.get('meta'), config)
    check_class_count(model.decode_head.num_classes, model.dataset_meta['classes'], 'the data set')
    model.cfg = config
    return model.to(device).eval()


def _build(config: Config) -> BaseSegmentor:
    """Build the segmentor of a config without pretrained weights, which those of a checkpoint replace."""
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    init_default_scope(config.get('default_scope', 'mmseg'))
    check_config(config)
    backbone = {**config.model['backbone'], 'init_cfg': None}
    with strict_loading():
        return MODELS.build({**config.model, 'backbone': backbone, 'pretrained': None})


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


def _dataset_meta(meta: Any, config: Config) -> dict[str, Any]:
    """Return classes and palette of the checkpoint or the config, without opening files of a data set."""
    found = (meta.get('dataset_meta') if isinstance(meta, Mapping) else None) or config.get('dataset_meta')
    if found is None:
        dataset = config.test_dataloader.dataset
        found = {**getattr(DATASETS.get(dataset.type), 'METAINFO', {}), **dataset.get('metainfo', {})}
    if not found.get('classes'):
        raise ValueError('no class names in the checkpoint or in test_dataloader.dataset.metainfo')
    palette = found.get('palette') or voc_palette(len(found['classes']))
    return dict(found, classes=tuple(found['classes']), palette=palette)
