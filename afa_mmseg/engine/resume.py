"""Going on where a run was stopped, as if it had not been."""

import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from ..datasets.seeding import seed_iteration
from ..models.checkpoints.reading import read_checkpoint
from ..utils.checks import first_few
from .resume_settings import compare_settings, describe_changes, settings_of

#: What a checkpoint must hold to go on from.
NEEDED = ('meta', 'state_dict', 'optimizer', 'message_hub')
#: What reading a damaged file raises, by the part that is damaged; a checkpoint that PyTorch refuses is a `ValueError`.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, OverflowError, UnicodeError,
)  # fmt: skip


def set_resume(cfg: Config, explicit: bool = False) -> None:
    """Go on from the newest whole checkpoint in `cfg.work_dir`; start anew where there is none at all.

    The pretrained weights of `cfg.load_from` are not what to resume from, though mmengine would take
    them for it, unless `explicit` says that the user named them on the command line.

    Raises:
        ValueError: There are checkpoints, and all of them are broken; or the one that is named is.
    """
    if explicit:
        damage = find_damage(cfg.load_from) if Path(cfg.load_from).is_file() else None
        if damage:
            raise ValueError(f'--resume: load_from={cfg.load_from} is broken: {damage}')
        cfg.resume = True
        return
    checkpoint = find_checkpoint(cfg.work_dir)
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = checkpoint


def find_checkpoint(work_dir: str) -> Optional[str]:
    """Find the newest whole checkpoint: the recorded one, else the highest iteration or epoch.

    Files are read to their end and compared with their checksums: a run that was killed, or a disk that was full,
    may leave half a file, and a power cut one with holes. A moved work directory leaves a record of the old place.

    Raises:
        ValueError: There are checkpoints, and all of them are broken.
    """
    broken = {}
    for path in _candidates(Path(work_dir)):
        damage = find_damage(path)
        if damage is None:
            return str(path)
        broken[path] = damage
    if broken:
        details = ''.join(f'\n  {path}: {damage}' for path, damage in broken.items())
        raise ValueError(
            f'--resume: no checkpoint in {work_dir} is whole:{details}\n'
            '  Delete them, or leave --resume out, to start from the beginning.'
        )
    return None


def find_damage(path: Union[str, Path]) -> Optional[str]:
    """Say what is wrong with a checkpoint file, after reading all of it; None: nothing.

    Raises:
        OSError: It cannot be opened, which says nothing about what it holds.
    """
    with open(path, 'rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                torn = archive.testzip()
            if torn is not None:
                return f'its checksum does not match in {torn}'
            read_checkpoint(path)
        except DAMAGE as error:
            return f'incomplete or no checkpoint ({error})'
        except ValueError as error:
            return str(error)
    return None


def _candidates(folder: Path) -> list[Path]:
    record = folder / 'last_checkpoint'
    recorded = Path(record.read_text().strip()) if record.is_file() else folder
    paths = [recorded, folder / recorded.name, *_numbered(folder)]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def _numbered(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, the newest first."""
    numbered = [path for path in folder.glob('*.pth') if re.fullmatch(r'(iter|epoch)_\d+', path.stem)]
    return sorted(numbered, key=_number, reverse=True)


def _number(path: Path) -> int:
    return int(path.stem.split('_')[1])


@HOOKS.register_module()
class ResumeHook(Hook):
    """What mmengine leaves out of checkpoints and of going on from them.

    - Random numbers of an iteration depend on seed, process and iteration only, so there is no state to restore.
    - Checkpoints hold tensors and plain values, nothing that has to be unpickled, and the settings of the run.
    - A checkpoint of another network or optimiser is refused; other changes of the config are reported. mmengine
      loads what fits of such weights, and runs the Python source that a checkpoint may hold as its config.

    Raises:
        ValueError: The checkpoint does not fit the config.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._reports: list[str] = []

    def before_train(self, runner: Any) -> None:
        for report in self._reports:
            runner.logger.warning(report)
        if runner.iter > 0 and is_main_process():
            for path in _numbered(Path(runner.work_dir)):
                damage = find_damage(path) if _number(path) > runner.iter else None
                if damage:
                    runner.logger.warning(f'{path} is broken: {damage}; the run goes on from {runner._load_from}')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        seed_iteration(runner.seed, get_rank(), runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint['settings'] = settings_of(runner.cfg)
        for key in ('meta', 'message_hub'):
            checkpoint[key] = make_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if not isinstance(checkpoint.get('meta'), dict):
            checkpoint['meta'] = {}  # bare weights
        checkpoint['meta'].pop('config', None)  # Runner.resume would run it
        if 'message_hub' in checkpoint:
            logs = checkpoint['message_hub'].get('log_scalars', {})
            checkpoint['message_hub']['log_scalars'] = restore_logs(logs)
        if runner._resume:
            self._compare(runner, checkpoint)

    def _compare(self, runner: Any, checkpoint: dict) -> None:
        source = runner._load_from or 'the checkpoint'
        missing = [key for key in NEEDED if key not in checkpoint]
        if missing or 'iter' not in checkpoint['meta']:
            raise ValueError(
                f'cannot resume from {source}: it holds no {", ".join(missing) or "iteration"}; it was saved to '
                'predict with, not to go on from.\n  Name another, or leave --resume out: `load_from` takes weights.'
            )
        changes = compare_settings(checkpoint.get('settings', {}), settings_of(runner.cfg))
        misfit = _misfit(runner, checkpoint) or changes.misfit
        if misfit:
            raise ValueError(
                f'cannot resume from {source}: {misfit}.\n{describe_changes(changes.all)}'
                '  Restore the config, or train anew in another --work-dir; `load_from` takes what fits of the weights.'
            )
        if changes.all:
            self._reports.append(
                f'the config is not that of {source}; the run goes on, but not as it would have:\n'
                f'{describe_changes(changes.all)}'
            )


def make_plain(value: Any) -> Any:
    """Turn what mmengine saves into tensors and plain values: logs into dicts, NumPy's numbers into Python's."""
    if isinstance(value, dict):
        return {key: make_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(make_plain, value))
    if isinstance(value, HistoryBuffer):
        history, count = (torch.from_numpy(np.asarray(data, np.float64)) for data in value.data)
        return dict(history=history, count=count, max_length=value.max_length)
    if isinstance(value, np.generic):
        return value.item()
    return value.tolist() if isinstance(value, np.ndarray) else value


def restore_logs(logs: dict) -> dict[str, HistoryBuffer]:
    """Turn the logs of `make_plain` back; those of mmengine's own checkpoints stay, where they were read."""
    restored = {}
    for name, log in logs.items():
        if isinstance(log, dict):
            log = HistoryBuffer(log['history'].cpu().numpy(), log['count'].cpu().numpy(), log['max_length'])
        if isinstance(log, HistoryBuffer):
            restored[name] = log
    return restored


def _misfit(runner: Any, checkpoint: dict) -> str:
    """Say in which parameters the checkpoint's network is another, or that its optimiser counts others."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {re.sub('^module.', '', name): tuple(value.shape) for name, value in checkpoint['state_dict'].items()}
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if not names:
        return _misfit_of_groups(runner.optim_wrapper, checkpoint['optimizer'])
    examples = [f'{name} ({theirs.get(name, "absent")} there, {ours.get(name, "absent")} here)' for name in names]
    return f'{len(names)} of {len(ours)} parameters of the network differ: {first_few(examples)}'


def _misfit_of_groups(wrapper: Any, state: dict) -> str:
    ours, theirs = len(wrapper.param_groups), len(state.get('param_groups', ())) or None
    if theirs in (None, ours):  # none: a state for each of several optimisers
        return ''
    return f'the optimiser has {ours} groups of parameters here and {theirs} there'
