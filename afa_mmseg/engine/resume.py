"""Exact resume: the newest whole checkpoint, random numbers by iteration, a check that the config still fits."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS

from ..datasets.seeding import seed_iteration
from ..utils.checkpoints import find_damage
from ..utils.checks import first_few
from .data_hooks import unwrap

#: What a checkpoint must hold to be resumed from.
REQUIRED = ('meta', 'state_dict', 'optimizer', 'message_hub')
#: Sections of a config that decide what an iteration computes.
SECTIONS = ('model', 'optim_wrapper', 'param_scheduler', 'train_dataloader', 'randomness')


def set_resume(cfg: Config, explicit: bool = False) -> None:
    """Resume from the newest whole checkpoint in `cfg.work_dir`; start anew where there is none.

    Args:
        cfg: Changed in place. Its `load_from`, pretrained weights, is replaced by the checkpoint.
        explicit: The user named `load_from` on the command line: resume from that where `cfg.work_dir` has none.

    Raises:
        ValueError: There are checkpoints and all are damaged.
    """
    out_dir = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('out_dir')
    checkpoint = find_checkpoint(cfg.work_dir, out_dir) or (cfg.load_from if explicit else None)
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = checkpoint


def find_checkpoint(work_dir: str, out_dir: Optional[str] = None) -> Optional[str]:
    """Return the newest whole checkpoint: the one in `last_checkpoint`, else the highest iteration or epoch.

    Files are read to their end and compared with their checksums.

    Args:
        work_dir: Of the run; checkpoints that lie elsewhere are not used, whatever `last_checkpoint` names.
        out_dir: `out_dir` of the `CheckpointHook`, if it has one.

    Raises:
        ValueError: There are checkpoints, and all of them are damaged.
    """
    folder = Path(out_dir, Path(work_dir).absolute().name) if out_dir else Path(work_dir)
    record = Path(work_dir, 'last_checkpoint')
    recorded = [folder / Path(record.read_text().strip()).name] if record.is_file() else []
    numbered = [path for path in folder.glob('*.pth') if re.fullmatch(r'(iter|epoch)_\d+', path.stem)]
    newest_first = sorted(numbered, key=lambda path: int(path.stem.split('_')[1]), reverse=True)
    damaged = ''
    for path in filter(Path.is_file, dict.fromkeys([*recorded, *newest_first])):
        damage = find_damage(path)
        if damage is None:
            return str(path)
        damaged += f'\n  {path}: {damage}'
    if damaged:
        raise ValueError(
            f'--resume: all checkpoints in {folder} are damaged:{damaged}\n'
            '  Delete them, or leave --resume out, to start from the beginning.'
        )
    return None


@HOOKS.register_module()
class ResumeHook(Hook):
    """Make a resumed run compute what an uninterrupted one computes, and refuse checkpoints that do not fit.

    - The random numbers of an iteration depend on seed, rank and iteration only, so no state is restored.
    - Checkpoints hold tensors and plain values only, and the settings of the run.
    - A checkpoint of another network or optimiser is refused; other changes of the config are logged. mmengine
      loads what fits of such weights, and runs the Python source that a checkpoint may hold as its config.

    Raises:
        ValueError: The checkpoint does not fit the config.
        OSError: The processes have work directories of their own.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._changes = ''

    def before_train(self, runner: Any) -> None:
        iterations = all_gather_object(runner.iter)
        if len(set(iterations)) > 1:
            raise OSError(  # ends with its message, as other faults of a disk do
                f'the processes would continue at different iterations ({iterations}): all need the same work '
                f'directory ({runner.work_dir}), on a disk that the machines share'
            )
        if self._changes:
            runner.logger.warning(
                'the config is not that of the checkpoint, whose learning rates, settings of the optimiser and seed '
                f'are kept:\n{self._changes}'
            )

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        seed_iteration(runner.seed, get_rank(), runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint['settings'] = settings_of(runner.cfg)
        for key in ('meta', 'message_hub'):
            checkpoint[key] = make_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if isinstance(checkpoint.get('meta'), dict):
            checkpoint['meta'].pop('config', None)  # Runner.resume would run it
        if 'message_hub' in checkpoint:
            logs = checkpoint['message_hub'].get('log_scalars', {})
            checkpoint['message_hub']['log_scalars'] = restore_logs(logs)
        if runner._resume:  # no public name
            self._compare(runner, checkpoint)

    def _compare(self, runner: Any, checkpoint: dict) -> None:
        source = runner._load_from or 'the checkpoint'  # no public name
        missing = [key for key in REQUIRED if key not in checkpoint]
        if missing or 'iter' not in checkpoint['meta']:
            raise ValueError(
                f'cannot resume from {source}: it holds no {", ".join(missing) or "iteration"}.\n'
                '  Name a checkpoint of training, or leave --resume out: `load_from` loads weights alone.'
            )
        now = settings_of(runner.cfg)
        before = checkpoint.get('settings', now)
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        self._changes = ''.join(
            f'  {key}: {before.get(key, "not set")} in the checkpoint, {now.get(key, "not set")} now\n'
            for key in changed
        )
        misfit = _misfit(runner, checkpoint)
        if not misfit and 'optim_wrapper.optimizer.type' in changed:
            misfit = 'its optimiser is another'
        if misfit:
            raise ValueError(
                f'cannot resume from {source}: {misfit}.\n{self._changes}'
                '  Restore the config, or train anew in another --work-dir; `load_from` loads the weights that fit.'
            )


def settings_of(cfg: Config) -> dict[str, str]:
    """List the settings that decide what an iteration computes: dotted name to value, as text."""
    plain = cfg.to_dict()
    settings = {'processes': str(get_world_size())}
    for section in SECTIONS:
        settings.update(_flatten(plain.get(section), section))
    return settings


def _flatten(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        yield name, value.__name__ if isinstance(value, type) else repr(value)
        return
    for key, item in value.items():
        yield from _flatten(item, f'{name}.{key}')


def make_plain(value: Any) -> Any:
    """Turn what mmengine saves into tensors and plain values: logs into dicts, NumPy's numbers into Python's."""
    if isinstance(value, dict):
        return {key: make_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(make_plain, value))
    if isinstance(value, HistoryBuffer):
        history, count = (torch.from_numpy(np.asarray(data, np.float64)) for data in value.data)
        return dict(history=history, count=count, max_length=value.max_length)
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def restore_logs(logs: dict) -> dict[str, HistoryBuffer]:
    """Turn the logs of `make_plain` back; those of mmengine's own checkpoints stay."""
    return {
        name: HistoryBuffer(log['history'].cpu().numpy(), log['count'].cpu().numpy(), log['max_length'])
        if isinstance(log, dict)
        else log
        for name, log in logs.items()
    }


def _misfit(runner: Any, checkpoint: dict) -> str:
    """Return which parameters differ from the checkpoint's, or that the optimiser has other groups of them."""
    ours = {name: tuple(value.shape) for name, value in unwrap(runner.model).state_dict().items()}
    theirs = {re.sub('^module.', '', name): tuple(value.shape) for name, value in checkpoint['state_dict'].items()}
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if names:
        examples = [f'{name} ({theirs.get(name, "absent")} there, {ours.get(name, "absent")} here)' for name in names]
        return f'{len(names)} of {len(ours)} parameters differ: {first_few(examples)}'
    # As saved: the wrapper's own `param_groups` has one more, mmengine's record of the base settings.
    states = runner.optim_wrapper.state_dict(), checkpoint['optimizer']
    groups = [len(state.get('param_groups', ())) for state in states]
    differ = f'the optimiser has {groups[0]} group(s) of parameters here and {groups[1]} there'
    return '' if groups[0] == groups[1] else differ
