"""Keys of a config that nothing reads, which would change nothing and say nothing, and values of a wrong type."""

import ast
import builtins
import difflib
import inspect
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..utils.checks import closest
from ..utils.value_types import type_faults
from .config_sections import Section, keys_of, kind_of, sections_of

#: Top-level keys that something else than the Runner's constructor reads: its methods, mmseg, our tools.
OTHER_KEYS = (
    'custom_imports', 'runner_type', 'tta_model', 'tta_pipeline', 'train_pipeline', 'val_pipeline', 'test_pipeline',
    'model_wrapper_cfg', 'vis_backends',
    'find_unused_parameters', 'sync_bn', 'compile', 'efficient_conv_bn_eval', 'activation_checkpointing',
    'env_cfg', 'resource_limit', 'strategy',
)  # fmt: skip
#: What mmengine takes out of a section before the class named by `type` is built.
TAKEN_ANYWHERE = ('_scope_', '_delete_')
TAKEN = ('type', *TAKEN_ANYWHERE, 'priority', 'convert_to_iter_based')
#: Variables of our and mmseg's files: of no use to options, though not misspelt.
FILE_VARIABLES = ('train_pipeline', 'val_pipeline', 'test_pipeline', 'vis_backends')
#: Packages and modules whose annotations are taken at their word; those of others are often narrower than their code.
ANNOTATED = (__name__.split('.')[0], 'torch.optim', 'mmengine.runner.loops')


def check_config(cfg: Config, overrides: Collection[str] = ()) -> None:
    """Refuse what nothing reads and looks like a misspelt key; warn of other variables that nothing reads.

    Args:
        cfg: What was read from a file, options applied.
        overrides: Keys that options set. A variable of the file, such as `data_root`, is of no use there: what is
            made of it was made when the file was read.

    Raises:
        ValueError: Keys are misspelt, with the closest ones that are read; values are of a wrong type; there is no
            `model`.
    """
    name = cfg.filename or 'config'
    if cfg.filename and not isinstance(cfg.get('model'), Mapping):
        raise ValueError(f'{name}: `model` is {cfg.get("model")!r}; give a config of mmseg, with a dict of the network')
    top = (*inspect.signature(Runner).parameters, *OTHER_KEYS)
    used = _names_used(cfg.filename)
    spare = [key for key in cfg if key not in top and key not in used and not key.startswith('_')]
    options = {key.split('.')[0] for key in overrides}
    misspelt = [key for key in spare if key in options or difflib.get_close_matches(key, top, n=1, cutoff=0.85)]
    faults = [f'{key}: {closest(key, top) or "no such key"}' for key in misspelt]
    faults += [
        f'--cfg-options {key}: nothing reads it any more once the file is read; set what the file makes of it, such as '
        f'train_dataloader.dataset.{"pipeline" if key.endswith("pipeline") else key}'
        for key in sorted(options.difference(top, misspelt) | options.intersection(FILE_VARIABLES))
    ]
    doubts: list[str] = []
    sections = list(sections_of(cfg))
    for section in sections:
        (faults if section.sure else doubts).extend(_faults(section))
    _refuse(name, 'nothing reads these keys', faults)
    _refuse(name, 'these values cannot be', [text for section in sections for text in _type_faults(section)])
    unused = [key for key in spare if key not in misspelt]
    if unused and used:  # a file that training wrote has all variables of those that it was made from, and uses none
        doubts.append(', '.join(unused))
    for doubt in doubts:
        print_log(f'config: nothing reads {doubt}', logger='current', level=logging.WARNING)


def _refuse(name: str, what: str, faults: list[str]) -> None:
    if faults:
        raise ValueError(f'{name}: {what}:\n  ' + '\n  '.join(faults))


def _faults(section: Section) -> Iterator[str]:
    read = set() if section.registry is None else keys_of(section.node, section.registry)
    if read is None:
        return
    names = (*sorted(read), *section.more)
    taken = TAKEN if section.registry is not None else TAKEN_ANYWHERE
    for key in section.node:
        if key not in (*names, *taken):
            yield f'{section.path}.{key}: {closest(key, names) or "known are " + ", ".join(names)}'


def _type_faults(section: Section) -> Iterator[str]:
    """Name the values of a section that are not what its class declares, if that is one of `ANNOTATED`."""
    if section.path == 'randomness':
        yield from type_faults(_randomness, section.node, section.path)
    kind = None if section.registry is None else kind_of(section.node, section.registry)
    for base in kind.__mro__ if inspect.isclass(kind) else ():
        if base.__module__.startswith(ANNOTATED) and '__init__' in vars(base):
            yield from type_faults(vars(base)['__init__'], section.node, section.path)


def _randomness(seed: Optional[int], diff_rank_seed: bool, deterministic: bool) -> None:
    """Declare what `randomness` may hold."""


def _names_used(filename: Optional[str]) -> set[str]:
    """List the variables that a config file and its bases read."""
    if filename is None or not str(filename).endswith('.py') or not Path(filename).is_file():
        return set()
    tree = ast.parse(Path(filename).read_text(encoding='utf-8'))
    try:
        bases = Config._get_base_files(filename)  # computed ones too
    except TypeError:  # {{'$VARIABLE:...'}} is no expression before mmengine fills it in
        return set()
    names = {x.id for x in ast.walk(tree) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load)} - {*dir(builtins)}
    names |= {x.attr for x in ast.walk(tree) if isinstance(x, ast.Attribute) and ast.unparse(x.value) == '_base_'}
    for base in bases:
        names |= _names_used(Config._get_cfg_path(base, filename)[0])
    return names
