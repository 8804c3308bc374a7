"""Loading of a backbone's pretrained file, whole or not at all; mmengine only warns where names or shapes differ."""

import os.path as osp
import shlex
from typing import Any, Optional

from mmengine.logging import print_log
from torch import nn

from ...utils.checkpoints import read_state
from ...utils.checks import first_few
from .conversion import Weights, recognise
from .layouts import WRAPPER, State, check_names

CONVERT = 'python tools/model_converters/convert_mit.py'
FIELD = '  (`model.backbone.init_cfg.checkpoint` of the config.)'


def load_all(module: nn.Module, init_cfg: Any) -> bool:
    """Load every weight of a backbone from the file that its `init_cfg` names, if any; return whether there is one.

    Raises:
        FileNotFoundError, ValueError: See `read_pretrained`.
    """
    files = pretrained_files(init_cfg)
    for file, prefix in files:
        module.load_state_dict(read_pretrained(module.state_dict(), file, prefix))
        print_log(f'all weights of {type(module).__name__} loaded from {file}', logger='current')
    return bool(files)


def pretrained_files(init_cfg: Any) -> list[tuple[str, Optional[str]]]:
    """List the files that an `init_cfg`, one or a list, names, and the prefixes of the names in them."""
    configs: list[dict] = [*init_cfg] if isinstance(init_cfg, (list, tuple)) else [init_cfg or {}]
    return [(config['checkpoint'], config.get('prefix')) for config in configs if config.get('checkpoint') is not None]


def read_pretrained(own: State, file: str, prefix: Optional[str] = None) -> State:
    """Read all weights of a backbone from a checkpoint.

    Args:
        own: State dict of the backbone.
        file: Checkpoint, a path or a URL that mmengine knows.
        prefix: Prefix of the backbone's names in the file, without the dot (mmengine's `prefix`).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A tensor is missing or has another shape, or the file's network has more blocks.
    """
    state = _read(file, own)
    whole = {key.removeprefix(WRAPPER): value for key, value in state.items()}  # as mmengine does
    start = f'{prefix.rstrip(".")}.' if prefix else ''
    inner = {key[len(start) :]: value for key, value in whole.items() if key.startswith(start)}
    # Other keys, such as a classifier's, do no harm.
    layers = {key: value for key, value in inner.items() if key in own or key.startswith('layers.')}
    wrong = [
        f'{key} is {tuple(layers[key].shape)}, expected {tuple(value.shape)}'
        for key, value in own.items()
        if key in layers and layers[key].shape != value.shape
    ]
    try:
        check_names(layers, own, wrong)
    except ValueError as error:
        raise ValueError(
            f'pretrained weights do not fit: {file}\n{FIELD}\n  {_describe(whole, own)}\n  {error}'
        ) from error
    return layers


def _read(file: str, own: State) -> State:
    path = file if '://' in file else osp.expanduser(file)
    if '://' not in file and not osp.isfile(path):
        raise FileNotFoundError(
            f'pretrained weights not found: {file}\n{FIELD}\n{_where_to_get(file, own)}'
            '  Or name another file by --cfg-options model.backbone.init_cfg.checkpoint=FILE,\n'
            '  or train from scratch with --cfg-options model.backbone.init_cfg=None'
        )
    return read_state(path)


def _where_to_get(file: str, own: State) -> str:
    needed = _recognise(own)
    preset = needed.architecture.preset if needed else None
    command = f'{CONVERT} DOWNLOADED_FILE {shlex.quote(file)}'
    if preset is None:
        return f'  Convert weights of the same architecture: {command}\n'
    if 'distilled' in osp.basename(file):
        if osp.basename(file) == 'mit_b0_distilled.pth':
            return f'  It is included in the package: afa weights mit-b0-distilled --out {shlex.quote(file)}\n'
        return f'  Distil a MiT-{preset.upper()} and copy its backbone.pth there: docs/weights.md.\n'
    return (
        f"  Get MiT-{preset.upper()}'s ImageNet weights: afa weights mit-{preset} --out {shlex.quote(file)}\n"
        f'  or convert a download, which docs/weights.md lists: {command}\n'
    )


def _describe(state: State, own: State) -> str:
    """Return what the file holds, and the remedy."""
    found, needed = _recognise(state), _recognise(own)
    if found is None or needed is None:
        return f'Its keys: {first_few(list(state))}'
    if found.architecture != needed.architecture:
        return (
            f'The file holds {found.architecture}, the backbone is {needed.architecture}: '
            'name another file, or set `model.backbone.arch`.'
        )
    if found.layout.is_segmentor:
        return (
            f'It holds {found.layout.title}, not a backbone. Convert it ({CONVERT} FILE OUT)\n'
            '  and start from it with --cfg-options load_from=OUT model.backbone.init_cfg=None'
        )
    return f'It holds {found.layout.title}. Convert it and name the result: {CONVERT} FILE OUT'


def _recognise(state: State) -> Optional[Weights]:
    try:
        return recognise(state)
    except ValueError:
        return None
