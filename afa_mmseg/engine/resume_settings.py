"""The settings that a run cannot change on the way, and what became of them."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.dist import get_world_size

#: Sections of a config that decide what an iteration computes.
SECTIONS = ('model', 'optim_wrapper', 'param_scheduler', 'train_dataloader', 'randomness')
#: What does not: where things are, and how the work is done.
FREE = (
    r'data_root|backend_args|init_cfg|pretrained|checkpoint|with_cp|_scope_|num_workers|persistent_workers|pin_memory|'
    r'prefetch_factor|multiprocessing_context|test_cfg|cudnn_benchmark|deterministic|fused|foreach'
)
#: These a resumed run takes from the checkpoint.
KEPT = r'param_scheduler\.|optim_wrapper\.(optimizer|paramwise_cfg)\.|randomness\.seed$'
#: With another optimiser there is nothing to go on with.
OPTIMIZER = 'optim_wrapper.optimizer.type'
ABSENT = 'not set'


class Change(NamedTuple):
    """A setting with two values."""

    name: str
    old: str
    new: str


class Changes(NamedTuple):
    """All settings that differ, and why the run cannot go on, or an empty text."""

    all: list[Change]
    misfit: str


def settings_of(cfg: Config) -> dict[str, str]:
    """List what decides about the iterations of a run: dotted name to value, as text."""
    plain = cfg.to_dict()
    settings = {'processes': str(get_world_size())}
    for section in SECTIONS:
        settings.update(_flatten(plain.get(section), section))
    return settings


def compare_settings(old: dict[str, str], new: dict[str, str]) -> Changes:
    """Compare the settings of a checkpoint, if it has any, with those of this run."""
    if not old:
        return Changes([], '')
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    changes = [Change(name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in names]
    misfits = [f'{name} is another: {before}, now {now}' for name, before, now in changes if name == OPTIMIZER]
    return Changes(changes, ''.join(misfits))


def describe_changes(changes: list[Change]) -> str:
    """Name each setting with its old and new value, one in a line."""
    return ''.join(
        f'  {change.name}: {change.old} in the checkpoint, {change.new} now{_effect(change)}\n' for change in changes
    )


def _effect(change: Change) -> str:
    if re.match(KEPT, change.name):
        return " (without effect: a resumed run keeps the checkpoint's)"
    return ''


def _flatten(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if re.fullmatch(FREE, name.rsplit('.', 1)[-1]):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f'{name}.{key}')
    elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        for i, item in enumerate(value):
            yield from _flatten(item, f'{name}.{i}')
    elif value is not None:
        yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    return repr(list(value) if isinstance(value, tuple) else value)
