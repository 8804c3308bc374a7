"""Config errors that `Registry.build` does not catch: unexpected keys in sections that ignore them."""

import difflib
import inspect
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import HOOKS, METRICS, OPTIMIZERS
from torch.nn.utils import clip_grad_norm_

from ..utils.checks import closest
from .settings import SETTINGS

#: What classes raise for invalid arguments, and mmengine for an unknown `type`.
BUILD_ERRORS = (KeyError, TypeError, AttributeError, AssertionError, IndexError, SyntaxError, ZeroDivisionError)
#: Environment variable that has errors raised with their traceback.
TRACEBACK = 'AFA_TRACEBACK'

#: Variables of config files that are used while the file is read.
FILE_VARIABLES = ('train_pipeline', 'val_pipeline', 'test_pipeline', 'vis_backends')
#: What is made of other variables.
MADE_OF = dict(
    max_iters='train_cfg.max_iters and param_scheduler.0.max_iters',
    num_classes='classes, or model.decode_head.num_classes',
    label_file='train_dataloader.dataset.label_file and val_dataloader.dataset.label_file',
)
#: Top-level keys that something else than the Runner's constructor reads: its methods, mmseg, our tools.
OTHER_KEYS = (
    'custom_imports', 'runner_type', 'tta_model', 'tta_pipeline', 'model_wrapper_cfg', 'find_unused_parameters',
    'sync_bn', 'compile', 'efficient_conv_bn_eval', 'activation_checkpointing', 'resource_limit', 'strategy',
    *FILE_VARIABLES,
)  # fmt: skip
#: Sections that are read key by key, unexpected keys ignored.
PLAIN_SECTIONS = {
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'optim_wrapper.clip_grad': ('type', 'clip_value', *inspect.signature(clip_grad_norm_).parameters),
}
#: The same, read by mmengine's own constructor of optimisers alone.
CONSTRUCTOR = 'DefaultOptimWrapperConstructor'
PARAMWISE_KEYS = (
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult',
    'dcn_offset_lr_mult', 'bypass_duplicate',
)  # fmt: skip
#: `CheckpointHook` passes other keys to `save_checkpoint`, at the first checkpoint.
CHECKPOINT_KEYS = ('type', 'priority', '_scope_', *inspect.signature(Runner.save_checkpoint).parameters)


def check_config(cfg: Config, overrides: Collection[str] = ()) -> None:
    """Raise a `ValueError` for unexpected keys that would be ignored, with the closest known ones.

    Args:
        cfg: Read from a file, options applied.
        overrides: Keys that `--cfg-options` sets. Other variables of the file than `SETTINGS` have no effect there.

    Raises:
        ValueError: Keys are unexpected, or there is no `model`.
    """
    name = cfg.filename or 'config'
    if cfg.filename and not isinstance(cfg.get('model'), Mapping):
        raise ValueError(f'{name}: `model` is {cfg.get("model")!r}; required is a dict, as in configs of mmseg')
    top = (*inspect.signature(Runner).parameters, *OTHER_KEYS)
    options = {key.split('.')[0] for key in overrides if key not in SETTINGS}
    misspelt = [key for key in cfg if key not in top and difflib.get_close_matches(key, top, n=1, cutoff=0.85)]
    faults = [f'{key}: {closest(key, top)}' for key in misspelt]
    faults += [
        f'--cfg-options {key}: without effect, it is used while the file is read; {_instead(key)}'
        for key in sorted(options.difference(top, misspelt) | options.intersection(FILE_VARIABLES))
    ]
    faults += _unexpected(cfg.to_dict())
    if faults:
        raise ValueError(f'{name}: unexpected keys:\n  ' + '\n  '.join(faults))


def _instead(variable: str) -> str:
    """Return what to set in place of a variable of a config file."""
    if variable in MADE_OF or variable.endswith('pipeline'):
        return f'set what is made of it: {MADE_OF.get(variable, "train_dataloader.dataset.pipeline")}'
    return 'change it in a copy of the config'


def _unexpected(cfg: Mapping) -> Iterator[str]:
    for path, known in PLAIN_SECTIONS.items():
        yield from _compare(path, _find(cfg, path), known)
    for name, hook in (cfg.get('default_hooks') or {}).items():
        yield from _compare_constructor(f'default_hooks.{name}', hook, HOOKS, CheckpointHook, CHECKPOINT_KEYS)
    for name in ('val_evaluator', 'test_evaluator'):
        for metric in metrics_of(cfg.get(name)):
            yield from _compare_constructor(name, metric, METRICS, IoUMetric, ('type', '_scope_'))
    wrapper = cfg.get('optim_wrapper') or {}
    rules, path = wrapper.get('paramwise_cfg'), 'optim_wrapper.paramwise_cfg'
    if wrapper.get('constructor', CONSTRUCTOR) != CONSTRUCTOR or not isinstance(rules, Mapping):
        return
    yield from _compare(path, rules, PARAMWISE_KEYS)
    optimizer = OPTIMIZERS.get(_find(wrapper, 'optimizer.type') or 'SGD')
    settings = () if optimizer is None else inspect.signature(optimizer).parameters
    for key, values in (rules.get('custom_keys') or {}).items():
        yield from _compare(f'{path}.custom_keys.{key}', values, ('lr_mult', 'decay_mult', *settings))


def metrics_of(evaluator: Any) -> list[dict]:
    """List the settings of metrics, of one or several, or of an `Evaluator` with them."""
    if isinstance(evaluator, (list, tuple)):
        return [metric for item in evaluator for metric in metrics_of(item)]
    if isinstance(evaluator, Mapping) and 'metrics' in evaluator:
        return metrics_of(evaluator['metrics'])
    return [] if evaluator is None else [evaluator]


def _compare_constructor(path: str, node: Any, registry: Registry, base: type, other: Iterable[str]) -> Iterator[str]:
    """Compare settings of `base` or a subclass, which ignores unexpected ones, with all constructors it calls."""
    name = node.get('type') if isinstance(node, Mapping) else None
    kind = registry.get(name) if isinstance(name, str) else name
    if inspect.isclass(kind) and issubclass(kind, base):
        known = [key for parent in kind.__mro__[:-1] for key in inspect.signature(parent).parameters if key != 'kwargs']
        yield from _compare(path, node, (*known, *other))


def _find(node: Any, path: str) -> Any:
    for key in path.split('.'):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _compare(path: str, node: Any, known: Iterable[str]) -> Iterator[str]:
    names = tuple(dict.fromkeys(known))
    for key in node if isinstance(node, Mapping) else ():
        if key not in (*names, '_delete_'):
            yield f'{path}.{key}: {closest(key, names) or "known are " + ", ".join(names)}'


@contextmanager
def naming_config(config: str) -> Iterator[None]:
    """Turn the errors of a config that cannot be built into a `ValueError` with its name, unless `AFA_TRACEBACK=1`."""
    try:
        yield
    except BUILD_ERRORS as error:
        if shows_traceback():
            raise
        raise ValueError(describe_build_error(error, config)) from error


def describe_build_error(error: BaseException, config: str) -> str:
    """Return a message that names the config and the reason."""
    reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    return (
        f'{config} cannot be built: {type(error).__name__}: {reason}\n  {TRACEBACK}=1 in the environment shows where.'
    )


def shows_traceback() -> bool:
    """Return whether the user asks for tracebacks."""
    return os.environ.get(TRACEBACK, '') not in ('', '0')
