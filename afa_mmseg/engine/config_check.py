"""Keys of a config that nothing reads: misspelt ones above all, which would change nothing and say nothing."""

import ast
import builtins
import difflib
import inspect
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmseg import registry as mmseg_registry
from torch import nn
from torch.utils.data import DataLoader

from ..datasets.checks import closest
from ..models import WeaklySupervisedSegmentor
from ..models.checkpoints.reading import named
from ..models.segmentors.settings import check_settings
from ..models.segmentors.weakly_supervised import Phases

#: Top-level keys that something else than the Runner's constructor reads: its methods, mmseg, our tools.
OTHER_KEYS = (
    'custom_imports', 'runner_type', 'tta_model', 'tta_pipeline', 'train_pipeline', 'val_pipeline', 'test_pipeline',
    'model_wrapper_cfg', 'vis_backends',
    'find_unused_parameters', 'sync_bn', 'compile', 'efficient_conv_bn_eval', 'activation_checkpointing',
    'env_cfg', 'resource_limit', 'strategy',
)  # fmt: skip
#: What mmengine takes out of a section before the class named by `type` is built.
TAKEN = ('type', '_scope_', '_delete_', 'priority', 'convert_to_iter_based')
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
#: Classes that hand what they do not know on to a method.
HANDED_ON = {CheckpointHook: Runner.save_checkpoint}


class Section(NamedTuple):
    """Part of a config: where it stands, what it holds, where its `type` is registered, and more keys that it may have.

    Without a registry, `more` are all keys.
    """

    path: str
    node: Any
    registry: Optional[Registry]
    more: tuple[str, ...] = ()


def check_config(cfg: Config, overrides: Collection[str] = ()) -> None:
    """Refuse what nothing reads and looks like a misspelt key; warn of other variables that nothing reads.

    Args:
        cfg: What was read from a file, options applied.
        overrides: Keys that options set. A variable of the file, such as `data_root`, is of no use there: what is
            made of it was made when the file was read.

    Raises:
        ValueError: Keys are misspelt, with the closest ones that are read.
    """
    top = (*inspect.signature(Runner).parameters, *OTHER_KEYS)
    used = _names_used(cfg.filename)
    spare = [key for key in cfg if key not in top and key not in used and not key.startswith('_')]
    options = {key.split('.')[0] for key in overrides}.difference(top)
    misspelt = [key for key in spare if key in options or difflib.get_close_matches(key, top, n=1, cutoff=0.85)]
    faults = [f'{key}: {closest(key, top) or "no such key"}' for key in misspelt]
    faults += [
        f'--cfg-options {key}: nothing reads it any more once the file is read; set what the file makes of it, such as '
        f'train_dataloader.dataset.{key}'
        for key in sorted(options - {*misspelt})
    ]
    for section in _sections(cfg):
        faults += _faults(section)
    if cfg.get('model') is not None and _is_ours(cfg.model):
        with named(cfg.filename or 'config'):
            check_settings(
                cfg.model.get('pseudo_label'), cfg.model.get('train_cfg'), cfg.model.get('test_cfg'), Phases._fields
            )
    if faults:
        raise ValueError(f'{cfg.filename or "config"}: nothing reads these keys:\n  ' + '\n  '.join(faults))
    unused = [key for key in spare if key not in misspelt]
    if unused and used:  # a file that training wrote has all variables of those that it was made from, and uses none
        print_log(f'config: nothing reads {", ".join(unused)}', logger='current', level=logging.WARNING)


def keys_read(kind: Any) -> Optional[set[str]]:
    """List the arguments of a class, those that it hands on to its bases included; None if any will do.

    Example:
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


def _faults(section: Section) -> Iterator[str]:
    known: Optional[Collection[str]] = section.more
    if section.registry is not None:
        kind = section.node.get('type')
        kind = section.registry.get(kind) if isinstance(kind, str) else kind
        known = keys_read(kind) if callable(kind) else None  # an unknown type is for the Registry to refuse
        known = None if known is None else (*sorted(known), *section.more, *TAKEN)
    if known is None:
        return
    for key in section.node:
        if key not in known:
            names = [name for name in known if name not in TAKEN]
            yield f'{section.path}.{key}: {closest(key, names) or "known are " + ", ".join(names)}'


def _sections(cfg: Config) -> Iterator[Section]:
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
    yield from _each('visualizer', cfg.get('visualizer'), registries.VISUALIZERS)
    for name, keys in PLAIN.items():
        if isinstance(cfg.get(name), Mapping):
            yield Section(name, cfg[name], None, keys)


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
        yield from _each(f'{path}.pipeline', dataset.get('pipeline'), mmseg_registry.TRANSFORMS)
        yield from _dataset(f'{path}.dataset', dataset.get('dataset'))
        for index, child in enumerate(dataset.get('datasets') or ()):
            yield from _dataset(f'{path}.datasets[{index}]', child)


def _is_ours(model: Any) -> bool:
    kind = model.get('type')
    kind = mmseg_registry.MODELS.get(kind) if isinstance(kind, str) else kind
    return inspect.isclass(kind) and issubclass(kind, WeaklySupervisedSegmentor)


def _names_used(filename: Optional[str]) -> set[str]:
    """List the variables that a config file and its bases read."""
    if filename is None or not str(filename).endswith('.py') or not Path(filename).is_file():
        return set()
    tree = ast.parse(Path(filename).read_text(encoding='utf-8'))
    names = {x.id for x in ast.walk(tree) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load)} - {*dir(builtins)}
    names |= {x.attr for x in ast.walk(tree) if isinstance(x, ast.Attribute) and ast.unparse(x.value) == '_base_'}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == '_base_':
            bases = ast.literal_eval(statement.value)
            for base in [bases] if isinstance(bases, str) else bases:
                names |= _names_used(str(Path(filename).parent / base))
    return names
