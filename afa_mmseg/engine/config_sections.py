"""The parts of a config that are read by something known, and which keys each may have."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Optional

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmseg import registry as mmseg_registry
from mmseg.datasets import BaseCDDataset, BaseSegDataset
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from ..utils.checks import closest

LOADER_KEYS = (
    'dataset',
    'num_batch_per_epoch',
    'disable_subprocess_warning',
    *inspect.signature(DataLoader).parameters,
)
#: Sections that are read key by key.
PLAIN = dict(
    randomness=tuple(inspect.signature(Runner.set_randomness).parameters),
    auto_scale_lr=('enable', 'base_batch_size'),
    env_cfg=('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
)
WRAPPER_KEYS = ('optimizer', 'paramwise_cfg', 'constructor')
#: Of `optim_wrapper.clip_grad`: which way, and the arguments of PyTorch's functions for the two.
CLIP_KEYS = ('type', 'clip_value', *inspect.signature(clip_grad_norm_).parameters)
#: What makes the optimiser where no `constructor` is named, and what that reads.
CONSTRUCTOR = 'DefaultOptimWrapperConstructor'
PARAMWISE_KEYS = (
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult',
    'dcn_offset_lr_mult', 'bypass_duplicate',
)  # fmt: skip
#: Of each of `custom_keys`; it may hold any setting of the optimiser besides.
MULTIPLIERS = ('lr_mult', 'decay_mult')
#: Of a data set: its `metainfo`, what mmseg puts there itself over what is given, and its `data_prefix`.
METAINFO_KEYS = ('classes', 'palette')
METAINFO_MADE = ('label_map', 'reduce_zero_label')
PREFIXES = ('img_path', 'seg_map_path')
#: Classes that hand what they do not know on to a method.
HANDED_ON = {CheckpointHook: Runner.save_checkpoint}


class Section(NamedTuple):
    """Part of a config: where it stands, what it holds, where its `type` is registered, and more keys that it may have.

    Without a registry, `more` are all keys. Where others may read more, it is not `sure` that an unknown key is wrong.
    """

    path: str
    node: Any
    registry: Optional[Registry]
    more: tuple[str, ...] = ()
    sure: bool = True


def sections_of(cfg: Config) -> Iterator[Section]:
    """Go through all parts of a config that are read by something known."""
    registries = mmseg_registry
    for name in ('model', 'tta_model', 'data_preprocessor'):
        yield from _modules(name, cfg.get(name), registries.MODELS)
    for stage in ('train', 'val', 'test'):
        yield from _each(f'{stage}_evaluator', cfg.get(f'{stage}_evaluator'), registries.METRICS)
        yield from _each(f'{stage}_cfg', cfg.get(f'{stage}_cfg'), registries.LOOPS)
        yield from _loader(f'{stage}_dataloader', cfg.get(f'{stage}_dataloader'))
    yield from _each('param_scheduler', cfg.get('param_scheduler'), registries.PARAM_SCHEDULERS)
    yield from _each('custom_hooks', cfg.get('custom_hooks'), registries.HOOKS)
    for name, hook in (cfg.get('default_hooks') or {}).items():
        yield from _each(f'default_hooks.{name}', hook, registries.HOOKS)
    wrapper = cfg.get('optim_wrapper')
    yield from _each('optim_wrapper', wrapper, registries.OPTIM_WRAPPERS, WRAPPER_KEYS)
    if isinstance(wrapper, Mapping):
        yield from _each('optim_wrapper.optimizer', wrapper.get('optimizer'), registries.OPTIMIZERS)
        yield from _paramwise(wrapper)
        if isinstance(wrapper.get('clip_grad'), Mapping):
            yield Section('optim_wrapper.clip_grad', wrapper['clip_grad'], None, CLIP_KEYS)
    yield from _transforms('tta_pipeline', cfg.get('tta_pipeline'))
    yield from _each('visualizer', cfg.get('visualizer'), registries.VISUALIZERS)
    for name, keys in PLAIN.items():
        if isinstance(cfg.get(name), Mapping):
            yield Section(name, cfg[name], None, keys)


def kind_of(node: Mapping, registry: Registry) -> Any:
    """Find the class that a section is for; None if it is unknown, which is for the Registry to refuse."""
    kind = node.get('type')
    return registry.get(kind) if isinstance(kind, str) else kind


def keys_read(kind: Any) -> Optional[set[str]]:
    """List the arguments of a class, those that it hands on to its bases included; None if any will do.

    Example:
        >>> import logging
        >>> sorted(keys_read(logging.Formatter))
        ['datefmt', 'defaults', 'fmt', 'style', 'validate']
    """
    names: set[str] = set()
    for base in kind.__mro__ if inspect.isclass(kind) else [kind]:
        function = base.__dict__.get('__init__') if inspect.isclass(base) else base
        if base in (object, nn.Module) or function is None:
            continue
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters if p.name != 'self' and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return names
    methods = [method for base, method in HANDED_ON.items() if inspect.isclass(kind) and issubclass(kind, base)]
    return names | {*inspect.signature(methods[0]).parameters} if methods else None


def keys_of(node: Mapping, registry: Registry) -> Optional[set[str]]:
    """List what the class of a section reads; None if any key will do, or nobody knows."""
    kind = kind_of(node, registry)
    return keys_read(kind) if callable(kind) else None


def _each(path: str, node: Any, registry: Registry, more: tuple[str, ...] = ()) -> Iterator[Section]:
    """Give a section, or each of a list of them, if it says its type."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _each(f'{path}[{index}]', item, registry, more)
    elif isinstance(node, Mapping) and 'type' in node:
        yield Section(path, node, registry, more)


def _modules(path: str, node: Any, registry: Registry) -> Iterator[Section]:
    """Give a section and those inside it; settings called `*_cfg` are no modules of their own."""
    yield from _each(path, node, registry)
    for key, child in node.items() if isinstance(node, Mapping) else ():
        if not key.endswith('_cfg'):
            yield from _modules(f'{path}.{key}', child, registry)


def _paramwise(wrapper: Mapping) -> Iterator[Section]:
    """Give the learning rates and weight decays of parts of a network, as mmengine's own constructor reads them."""
    rules, path = wrapper.get('paramwise_cfg'), 'optim_wrapper.paramwise_cfg'
    if wrapper.get('constructor', CONSTRUCTOR) != CONSTRUCTOR or not isinstance(rules, Mapping):
        return
    yield Section(path, rules, None, PARAMWISE_KEYS)
    optimizer = keys_of(wrapper.get('optimizer') or {}, mmseg_registry.OPTIMIZERS)
    for name, values in (rules.get('custom_keys') or {}).items():
        if optimizer is not None and isinstance(values, Mapping):
            keys = (*MULTIPLIERS, *sorted(optimizer - {'params'}))
            yield Section(f'{path}.custom_keys.{name}', values, None, keys)


def _loader(path: str, loader: Any) -> Iterator[Section]:
    if not isinstance(loader, Mapping):
        return
    yield Section(path, loader, None, LOADER_KEYS)
    yield from _each(f'{path}.sampler', loader.get('sampler'), mmseg_registry.DATA_SAMPLERS)
    yield from _dataset(f'{path}.dataset', loader.get('dataset'))


def _dataset(path: str, dataset: Any) -> Iterator[Section]:
    """Give a data set, its transforms, and the data sets that it wraps."""
    yield from _each(path, dataset, mmseg_registry.DATASETS)
    if isinstance(dataset, Mapping):
        yield from _names_in(path, dataset)
        yield from _transforms(f'{path}.pipeline', dataset.get('pipeline'))
        yield from _dataset(f'{path}.dataset', dataset.get('dataset'))
        for index, child in enumerate(dataset.get('datasets') or ()):
            yield from _dataset(f'{path}.datasets[{index}]', child)


def _names_in(path: str, dataset: Mapping) -> Iterator[Section]:
    """Give `metainfo` and `data_prefix` of a data set.

    `metainfo` may hold notes of any name, and so may both in a class that is neither mmseg's nor ours: there only
    names that look like a known one are told.
    """
    kind = kind_of(dataset, mmseg_registry.DATASETS)
    if not inspect.isclass(kind) or not issubclass(kind, (BaseSegDataset, BaseCDDataset)):
        return
    sure = kind.__module__.split('.')[0] in ('mmseg', __name__.split('.')[0])
    for name, known in _names_known(kind).items():
        node = dataset.get(name)
        if isinstance(node, Mapping):
            unlike = {key for key in node if not closest(key.lower(), known)} - {*METAINFO_MADE}
            more = () if sure and name == 'data_prefix' else sorted(unlike)
            yield Section(f'{path}.{name}', node, None, (*known, *more), sure)


def _names_known(kind: Any) -> dict[str, tuple[str, ...]]:
    """List what a data set reads of `metainfo`, and of `data_prefix`: what its argument and its bases' default to."""
    defaults = [inspect.signature(base.__init__).parameters.get('data_prefix') for base in kind.__mro__]
    folders = (name for x in defaults if x is not None and isinstance(x.default, Mapping) for name in x.default)
    return dict(
        metainfo=(*dict.fromkeys((*METAINFO_KEYS, *kind.METAINFO)),),
        data_prefix=(*dict.fromkeys((*PREFIXES, *folders)),),
    )


def _transforms(path: str, node: Any) -> Iterator[Section]:
    """Give transforms, and those inside mmcv's; others, such as `Albu`, may hold those of other packages."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _transforms(f'{path}[{index}]', item)
    elif isinstance(node, Mapping):
        yield from _each(path, node, mmseg_registry.TRANSFORMS)
        kind = kind_of(node, mmseg_registry.TRANSFORMS)
        if getattr(kind, '__module__', '').startswith('mmcv.'):
            yield from _transforms(f'{path}.transforms', node.get('transforms'))
