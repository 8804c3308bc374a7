"""The training loop of a distillation: dense features and logits of the teacher, AdamW, cosine, resumable."""

import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from mmseg.models.backbones.mit import MixFFN
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...utils import atomic_path, write_text
from ...utils.checkpoints import read_checkpoint, read_state
from .crops import Batch, Crops
from .maps import TeacherMaps

#: Normalisation of our configs for Mix Transformers (RGB, pixel values).
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
#: Steps between checkpoints, and between lines of the log.
SAVE_INTERVAL, LOG_INTERVAL = 500, 50
#: Of AdamW's averages; the second as in all runs of docs/results/README.md, not compared with 0.999.
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Recipe:
    """Settings of a distillation.

    Args:
        steps: Training steps.
        batch_size: Crops a step.
        crop_size: Side of the crops in pixels.
        final_crop_size: Side in the last tenth of the steps.
        lr: Highest learning rate.
        weight_decay: Of AdamW; norms and biases have none.
        warmup: Share of the steps in which the learning rate rises.
        logit_weight: Weight of the divergence of logits, beside that of the features.
        amp: Whether the student computes in bfloat16.
        seed: Random seed.
        weights: `backbone.pth` of another run to start from, of whatever recipe; random weights if None.

    Raises:
        ValueError: There is one crop a step, or crops are no multiple of 16 pixels.
    """

    steps: int = 30000
    batch_size: int = 32
    crop_size: int = 128
    final_crop_size: int = 224
    lr: float = 4e-4
    weight_decay: float = 0.05
    warmup: float = 0.02
    logit_weight: float = 0.5
    amp: bool = False
    seed: int = 0
    weights: Optional[str] = None

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(f'batch_size={self.batch_size}: outputs of several crops are compared; use 2 or more')
        for name in ('crop_size', 'final_crop_size'):
            if getattr(self, name) < 32 or getattr(self, name) % 16:
                raise ValueError(f'{name}={getattr(self, name)}: cells are 16 pixels; use a multiple of it, 32 or more')


class Student(nn.Module):
    """A backbone with a linear projection of its last map, and of its class token, to the teacher's components."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, backbone: nn.Module, channels: int, maps: TeacherMaps) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Conv2d(channels, len(maps.spread), kernel_size=1)
        self.register_buffer('mean', torch.tensor(MEAN).view(3, 1, 1) / 255)
        self.register_buffer('std', torch.tensor(STD).view(3, 1, 1) / 255)
        self.register_buffer('component_weight', maps.spread / maps.spread.mean())
        self.register_buffer('weight', maps.weight)
        self.register_buffer('bias', maps.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the predicted components of images in 0..1: of the map, and of the class token where there is one.

        Shape:
            image (B, 3, H, W); output (B, K, h, w) and (B, K, 1, 1).
        """
        x = (image - self.mean) / self.std
        forward_with_tokens: Any = getattr(self.backbone, 'forward_with_tokens', None)
        if forward_with_tokens is None:
            return [self.projection(self.backbone(x)[-1])]
        tokens = forward_with_tokens(x)
        return [self.projection(tokens.maps[-1]), self.projection(tokens.class_token[..., None, None])]

    def losses(self, images: Tensor, targets: Tensor, recipe: Recipe) -> dict[str, Tensor]:
        """Compare with the teacher: weighted squared error of the maps, divergence of the logits of their means.

        `contrast` is the standard deviation of the student's mean outputs over the crops, relative to the teacher's:
        0 is one output for all.
        """
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.amp):
            predicted = [x.float() for x in self(images)]
        error = (predicted[0] - targets).square().mean(dim=(0, 2, 3))
        teacher, *students = (
            F.log_softmax(F.linear(x.mean(dim=(2, 3)), self.weight, self.bias), dim=1) for x in (targets, *predicted)
        )
        divergences = [F.kl_div(x, teacher, reduction='batchmean', log_target=True) for x in students]
        divergence = torch.stack(divergences).mean()
        features = (error * self.component_weight).mean()
        agreement = (students[-1].argmax(dim=1) == teacher.argmax(dim=1)).float().mean()
        answers, wanted = (x.detach().mean(dim=(2, 3)).var(dim=0).sum() for x in (predicted[0], targets))
        contrast = (answers / wanted).sqrt()
        loss = features + recipe.logit_weight * divergence
        return dict(loss=loss, features=features, divergence=divergence, agreement=agreement, contrast=contrast)


def build_backbone(arch: Any, weights: Optional[str] = None) -> nn.Module:
    """Build a backbone, initialised or with given weights; its last output is the map that is distilled.

    Args:
        arch: 'b0' to 'b5', or a dict with a number of layers for each stage: an `AttnMixVisionTransformer`. Another
            preset, or a dict with one number of layers: an `AttnVisionTransformer`.
        weights: `backbone.pth` of a distillation, or another file with all weights of the backbone; None: random ones.

    Raises:
        ValueError: The weights are of another backbone.
    """
    mixed = re.fullmatch(r'b\d+', arch) if isinstance(arch, str) else not isinstance(arch['num_layers'], int)
    plain = dict(type='AttnVisionTransformer', out_indices=(-1,), freeze_pos_embed=False)
    settings = dict(type='AttnMixVisionTransformer', drop_path_rate=0.0) if mixed else plain
    backbone = MODELS.build(dict(settings, arch=arch))
    backbone.init_weights()
    if weights is not None:
        try:
            backbone.load_state_dict(read_state(weights))
        except RuntimeError as error:
            raise ValueError(f'{weights} does not fit the backbone {arch!r}: {str(error)[:500]}') from error
    return backbone


def distill(
    arch: Any,
    images: Sequence[Path],
    maps: TeacherMaps,
    out: Path,
    recipe: Recipe,
    *,
    device: str = 'cpu',
    num_workers: int = 1,
    stop_at: Optional[int] = None,
    meta: Optional[dict] = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train a Transformer on the maps of a teacher, or resume it from `out`; return the path of the result.

    Args:
        arch: Preset or dict, as `build_backbone` has it.
        images: Image files.
        maps: The teacher's maps of these images.
        out: Folder: `state.pth` to resume from, `backbone.pth` (for `init_cfg=dict(type='Pretrained')`), `log.jsonl`.
        recipe: Settings.
        device: Where to train.
        num_workers: Processes that load images.
        stop_at: Step to stop at, for an interrupted run.
        meta: What else the result's meta data shall record.
        log: Called with lines of progress.

    Raises:
        ValueError: `out` holds the state of other settings, or the student's output no longer depends on the crop.
    """
    student, optimizer = _build(arch, maps, recipe, device)
    settings = dict(asdict(recipe), arch=arch)
    meta = dict(meta or {}, **_origin(recipe), recipe=asdict(recipe), arch=arch, num_images=len(images))
    steps = range(_resume(out / 'state.pth', student, optimizer, settings), min(recipe.steps, stop_at or recipe.steps))
    meter = _Meter(steps.start, recipe, out / 'log.jsonl', log)
    for step, batch in zip(steps, _loader(images, maps, recipe, steps, num_workers)):
        meter.update(step, _train_step(student, optimizer, batch, step, recipe))
        if (step + 1) % SAVE_INTERVAL == 0 or step + 1 == steps.stop:
            _save(out, student, optimizer, step + 1, settings, meta)
    return out / 'backbone.pth'


def _origin(recipe: Recipe) -> dict[str, Any]:
    return {} if recipe.weights is None else dict(started_from=read_checkpoint(recipe.weights).get('meta', {}))


def _build(arch: Any, maps: TeacherMaps, recipe: Recipe, device: str) -> tuple[Student, torch.optim.Optimizer]:
    torch.manual_seed(recipe.seed)
    backbone = build_backbone(arch, recipe.weights)
    if recipe.weights is None:
        _narrow_mlps(backbone)
    with torch.no_grad():
        channels = backbone.eval()(torch.zeros(1, 3, 64, 64))[-1].shape[1]
    student = Student(backbone, channels, maps).to(device).train()
    return student, torch.optim.AdamW(_groups(student, recipe.weight_decay), lr=recipe.lr, betas=BETAS)


def _narrow_mlps(backbone: nn.Module) -> None:
    """Draw the linear layers of a Mix Transformer's MLPs as all its others are drawn; mmseg's draw is for convolutions.

    With mmseg's the gradients are twice as large, and 400 steps learnt a little less (docs/results/README.md).
    """
    for block in (module for module in backbone.modules() if isinstance(module, MixFFN)):
        for layer in block.layers:
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                nn.init.trunc_normal_(layer.weight, std=0.02)


def _loader(
    images: Sequence[Path], maps: TeacherMaps, recipe: Recipe, steps: range, num_workers: int
) -> DataLoader[Batch]:
    crops = Crops(images, maps.maps, recipe.steps, recipe.batch_size, seed=recipe.seed)
    return DataLoader(crops, batch_size=None, sampler=steps, num_workers=num_workers)


def _train_step(
    student: Student, optimizer: torch.optim.Optimizer, batch: Batch, step: int, recipe: Recipe
) -> dict[str, Tensor]:
    for group in optimizer.param_groups:
        group['lr'] = recipe.lr * rate(step, recipe)
    size = recipe.final_crop_size if step >= 0.9 * recipe.steps else recipe.crop_size
    images, targets = Batch(*(x.to(student.mean.device, non_blocking=True) for x in batch)).cut(size)
    losses = student.losses(images, targets, recipe)
    optimizer.zero_grad()
    losses['loss'].backward()
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    return losses


def rate(step: int, recipe: Recipe) -> float:
    """Return the multiplier of the learning rate: linear rise, then half a cosine to 0."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))


def _groups(student: Student, weight_decay: float) -> list[dict]:
    parameters = [p for p in student.parameters() if p.requires_grad]
    return [
        dict(params=[p for p in parameters if p.ndim > 1], weight_decay=weight_decay),
        dict(params=[p for p in parameters if p.ndim <= 1], weight_decay=0.0),
    ]


def _save(out: Path, student: Student, optimizer: torch.optim.Optimizer, step: int, settings: dict, meta: dict) -> None:
    contents = {
        'state.pth': dict(student=student.state_dict(), optimizer=optimizer.state_dict(), step=step, settings=settings),
        'backbone.pth': dict(state_dict=student.backbone.state_dict(), meta=dict(meta, step=step)),
    }
    for name, content in contents.items():
        with atomic_path(out / name) as temporary:
            torch.save(content, temporary)


def _resume(path: Path, student: Student, optimizer: torch.optim.Optimizer, settings: dict) -> int:
    """Load the state of an interrupted run, if there is one; return its step."""
    if not path.is_file():
        return 0
    state = read_checkpoint(path)
    there = state.get('settings', {})
    changed = {key: (there.get(key), value) for key, value in settings.items() if there.get(key) != value}
    if changed:
        raise ValueError(f'{path} is of other settings (there, here): {changed}. Name another folder, or delete it')
    student.load_state_dict(state['student'])
    optimizer.load_state_dict(state['optimizer'])
    return int(state['step'])


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
