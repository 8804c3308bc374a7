"""Settings of a whole config from the command line: crop, classes and data root, wherever they stand."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

#: Options that set all places of a config that depend on them, and how to write them.
SETTINGS = dict(
    data_root='a folder: data_root=data/mine',
    classes='a list without blanks, the background first: classes=[background,cat,dog]',
    crop_size='height and width in pixels, without blanks: crop_size=(256,256), or crop_size=256',
)
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def merge_options(cfg: Config, overrides: Mapping[str, Any]) -> None:
    """Merge `--cfg-options` into a config.

    Variables of config files are used while these are read, so that a later change has no effect. Three of them are
    settings all the same, and set what the files make of them:

    | option | sets |
    |---|---|
    | `data_root` | `data_root` of all data sets |
    | `classes` | `metainfo` of all data sets, `num_classes` of the decode head |
    | `crop_size` | all crops of the training pipeline, `size` of the data preprocessor |

    Options that name one of these places win. Data loaders without workers lose `persistent_workers`, which PyTorch
    refuses for them.

    Raises:
        ValueError: A setting has another form, or the config has no such place.
    """
    try:
        _merge(cfg, overrides)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        raise ValueError(f'--cfg-options do not fit {cfg.filename or "the config"}: {reason}') from error


def _merge(cfg: Config, overrides: Mapping[str, Any]) -> None:
    settings = {name: _read(name, overrides[name]) for name in SETTINGS if name in overrides}
    of_data = {'data_root': settings['data_root']} if 'data_root' in settings else {}
    if 'classes' in settings:
        of_data['metainfo'] = dict(classes=settings['classes'])
        cfg.model.decode_head.num_classes = len(settings['classes'])
    for loader in LOADERS:
        for node in _dicts((cfg.get(loader) or {}).get('dataset')):
            node.update(of_data if 'pipeline' in node else {})  # other dicts are wrappers and transforms
    if 'crop_size' in settings:
        _set_crop(cfg, settings['crop_size'])
    cfg.merge_from_dict({**overrides, **settings})
    for loader in LOADERS:
        if cfg.get(loader) and cfg[loader].get('num_workers') == 0:
            cfg[loader].pop('persistent_workers', None)


def inner_datasets(setting: Any) -> list[dict]:
    """List the data sets inside wrappers such as RepeatDataset."""
    if not setting:
        return []
    inner = setting.get('datasets') or ([setting['dataset']] if 'dataset' in setting else [])
    return [data for item in inner for data in inner_datasets(item)] or [setting]


def _set_crop(cfg: Config, crop: tuple[int, int]) -> None:
    for node in _dicts(cfg.train_dataloader.dataset):
        if 'crop_size' in node:
            node['crop_size'] = crop
        elif str(node.get('type')).endswith('RandomResizedCrop'):  # of another view
            node['scale'] = crop
    cfg.model.data_preprocessor.size = crop


def _read(name: str, value: Any) -> Any:
    """Return the value of a setting; raise a `ValueError` unless it has the form that the setting requires."""
    if name == 'data_root' and isinstance(value, str):
        return value
    if name == 'classes' and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return list(value)
    if name == 'crop_size':
        sides = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
        if len(sides) == 2 and all(type(side) is int and side > 0 for side in sides):
            return sides
    raise ValueError(f'--cfg-options {name}={value!r}: write {SETTINGS[name]}')


def _dicts(node: Any) -> Iterator[dict]:
    """Yield all dicts in a part of a config."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for child in node if isinstance(node, (list, tuple)) else ():
        yield from _dicts(child)
