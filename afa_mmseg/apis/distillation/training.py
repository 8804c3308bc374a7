"""The training loop of a distillation, resumable."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...utils import atomic_path, write_text
from ...utils.checkpoints import read_checkpoint
from .components import Components, principal_components
from .crops import Batch, Crops
from .optimizers import Optimizers
from .recipe import Recipe, rate, size_of_crops
from .student import build_student
from .teacher import Teacher

#: Side of the crops that a teacher sees, in pixels; a student sees the same ones resized.
TEACHER_SIZE = 224
#: Steps between checkpoints, and between lines of the log.
SAVE_INTERVAL, LOG_INTERVAL = 100, 10


def distill(
    arch: Any,
    folders: Sequence[Sequence[Path]],
    teacher: Teacher,
    out: Path,
    recipe: Recipe,
    *,
    tags: Optional[Tensor] = None,
    num_workers: int = 1,
    stop_at: Optional[int] = None,
    meta: Optional[dict] = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train a Transformer to reproduce a teacher's output, or resume it from `out`; return the path of the result.

    Both see the same crops; the teacher's output is computed at each step, on its device.

    Args:
        arch: Preset or dict, as `build_backbone` has it.
        folders: Image files of each folder, which are drawn from equally often.
        teacher: The teacher.
        out: Folder: `state.pth` to resume from, `backbone.pth` (for `init_cfg=dict(type='Pretrained')`), `log.jsonl`.
        recipe: Settings.
        tags: Classes of each image (`read_tags`).
        num_workers: Processes that load images.
        stop_at: Step to stop at, for an interrupted run.
        meta: What else the result's meta data shall record.
        log: Called with lines of progress.

    Raises:
        ValueError: `out` holds the state of other settings, or the student's output no longer depends on the crop.
    """
    tags = torch.empty(sum(map(len, folders)), 0) if tags is None else tags
    crops = Crops(folders, tags, recipe.steps, recipe.batch_size, seed=recipe.seed)
    made_from = dict(arch=arch, images=_listed(folders), tags=_listed_tags(tags), **teacher.identity)
    run = _Run(arch, teacher, crops, _Files(out, recipe, made_from, dict(meta or {}, **_origin(recipe))))
    steps = range(run.step, min(recipe.steps, stop_at or recipe.steps))
    run.train(steps, num_workers, _Meter(run.step, recipe, out / 'log.jsonl', log))
    return out / 'backbone.pth'


def _listed(folders: Sequence[Sequence[Path]]) -> str:
    """Return how many images each folder has, and a digest of their names."""
    names = '\n'.join('/'.join(path.parts[-2:]) for folder in folders for path in folder)
    return f'{[len(folder) for folder in folders]}, {_digest(names.encode())}'


def _listed_tags(tags: Tensor) -> str:
    """Return the number of classes, and a digest of what they are."""
    return f'{tags.shape[1]} classes, {_digest(tags.numpy().tobytes())}'


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _origin(recipe: Recipe) -> dict[str, Any]:
    """Return what is known of the weights that a run starts from."""
    return {} if recipe.weights is None else dict(started_from=read_checkpoint(recipe.weights).get('meta', {}))


class _Files(NamedTuple):
    """The files of a run, and what it was made from."""

    out: Path
    recipe: Recipe
    made_from: dict[str, Any]
    meta: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        return dict(asdict(self.recipe), **self.made_from)

    def read(self) -> Optional[dict[str, Any]]:
        """Return the state of an interrupted run, if there is one; refuse one of other settings."""
        path = self.out / 'state.pth'
        if not path.is_file():
            return None
        state = read_checkpoint(path)
        there = state.get('settings', {})
        changed = {key: (there.get(key), value) for key, value in self.settings.items() if there.get(key) != value}
        if changed:
            raise ValueError(f'{path} is of other settings (there, here): {changed}. Name another folder, or delete it')
        return state

    def write(self, step: int, backbone: nn.Module, **states: dict[str, Any]) -> None:
        meta = dict(self.meta, recipe=asdict(self.recipe), **self.made_from, step=step)
        contents = {
            'state.pth': dict(states, step=step, settings=self.settings),
            'backbone.pth': dict(state_dict=backbone.state_dict(), meta=meta),
        }
        self.out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            with atomic_path(self.out / name) as temporary:
                torch.save(content, temporary)


class _Run:
    """A student in training on its teacher's device, from the state in the files on."""

    def __init__(self, arch: Any, teacher: Teacher, crops: Crops, files: _Files) -> None:
        self.teacher, self.crops, self.files, self.recipe = teacher, crops, files, files.recipe
        state, device = files.read(), teacher.mean.device
        found = (
            Components(**state['components']) if state else principal_components(teacher, crops.images, TEACHER_SIZE)
        )
        self.components = found.to(device)
        self.student = build_student(arch, found, self.recipe, crops.tags.shape[1]).to(device)
        self.optimizers = Optimizers(self.student, self.recipe.weight_decay)
        self.step = int(state['step']) if state else 0
        if state:
            self.student.load_state_dict(state['student'])
            self.optimizers.load_state_dict(state['optimizers'])

    def train(self, steps: range, num_workers: int, meter: '_Meter') -> None:
        loader = DataLoader(self.crops, batch_size=None, sampler=steps, num_workers=num_workers)
        for step, batch in zip(steps, loader):
            meter.update(step, self.train_step(batch, step))
            if (step + 1) % SAVE_INTERVAL == 0 or step + 1 == steps.stop:
                self.save(step + 1)

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        batch = Batch(*(x.to(self.teacher.mean.device, non_blocking=True) for x in batch))
        crops, tags = batch.cut(TEACHER_SIZE)
        targets, size = self.components.of(self.teacher(crops)), size_of_crops(step, self.recipe)
        if size != TEACHER_SIZE:
            crops = F.interpolate(crops, size=size, mode='bilinear', antialias=True)
        losses = self.student.losses(crops, targets, tags, self.recipe)
        losses['loss'].backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizers.step(self.recipe.lr * rate(step, self.recipe))
        return losses

    def save(self, step: int) -> None:
        states = {name: getattr(self, name).state_dict() for name in ('student', 'optimizers')}
        self.files.write(step, self.student.backbone, components=self.components._asdict(), **states)


class _Meter:
    """Average the losses between two lines of the log, and estimate the time left."""

    def __init__(self, start: int, recipe: Recipe, path: Path, log: Callable[[str], None]) -> None:
        self.recipe, self.path, self.log = recipe, path, log
        self.sums: dict[str, Tensor] = {}
        self.count, self.begin, self.first = 0, time.monotonic(), start
        before = path.read_text(encoding='utf-8').splitlines(keepends=True) if path.is_file() else []
        write_text(path, ''.join(line for line in before if line.endswith('\n') and json.loads(line)['step'] <= start))

    def update(self, step: int, losses: dict[str, Tensor]) -> None:
        self.count += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        if (step + 1) % LOG_INTERVAL and step + 1 != self.recipe.steps:
            return
        means = {name: round(float(value) / self.count, 4) for name, value in self.sums.items()}
        if not means['contrast'] > 0.01:
            raise ValueError(
                f'step {step + 1}: the output no longer depends on the crop (contrast={means["contrast"]}), nothing '
                f'more will be learnt. Lower lr={self.recipe.lr}, and begin in another folder'
            )
        speed = (step + 1 - self.first) / (time.monotonic() - self.begin)
        left = timedelta(seconds=round((self.recipe.steps - step - 1) / speed))
        crops = speed * self.recipe.batch_size
        self.log(f'step {step + 1}/{self.recipe.steps}  {means}  {crops:.0f} crops/s  time left {left}')
        with self.path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(dict(step=step + 1, **means)) + '\n')
        self.sums.clear()
        self.count = 0
