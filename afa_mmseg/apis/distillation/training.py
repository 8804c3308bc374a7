"""The training loop of a distillation: dense features and logits of the teacher, tags, cosine, resumable."""

import hashlib
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import torch
import torch.nn.functional as F
from mmseg.models.backbones.mit import MixFFN
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...utils import atomic_path, write_text
from ...utils.checkpoints import read_checkpoint, read_state
from .components import Components, principal_components
from .crops import Batch, Crops
from .optimizers import Optimizers, require_muon
from .teacher import Teacher

#: Normalisation of our configs for Mix Transformers (RGB, pixel values).
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
#: Side of the crops that a teacher sees, in pixels; a student sees the same ones resized.
TEACHER_SIZE = 224
#: Steps between checkpoints, and between lines of the log.
SAVE_INTERVAL, LOG_INTERVAL = 500, 50


@dataclass(frozen=True)
class Recipe:
    """Settings of a distillation.

    Args:
        steps: Training steps.
        batch_size: Crops a step.
        crop_size: Side of the crops that the student sees, in pixels.
        final_crop_size: Side at the end; it rises in the last third of the steps.
        lr: Highest learning rate of `Optimizers`.
        weight_decay: Of weights; norms and biases have none.
        warmup: Share of the steps in which the learning rate rises.
        logit_weight: Weight of the divergence of logits, beside that of the features.
        tag_weight: Weight of the loss of tags, where there are some.
        amp: Whether the student computes in bfloat16.
        seed: Random seed.
        weights: `backbone.pth` of another run to start from, of whatever recipe; random weights if None.

    Raises:
        ValueError: There is no step or one crop a step, or crops are no multiple of 16 pixels.
        ModuleNotFoundError: See `require_muon`.
    """

    steps: int = 2100
    batch_size: int = 256
    crop_size: int = 128
    final_crop_size: int = 224
    lr: float = 4e-3
    weight_decay: float = 0.05
    warmup: float = 0.03
    logit_weight: float = 0.5
    tag_weight: float = 0.5
    amp: bool = False
    seed: int = 0
    weights: Optional[str] = None

    def __post_init__(self) -> None:
        require_muon()
        if self.steps < 1:
            raise ValueError(f'steps={self.steps}: use 1 or more')
        if self.batch_size < 2:
            raise ValueError(f'batch_size={self.batch_size}: outputs of several crops are compared; use 2 or more')
        for name in ('crop_size', 'final_crop_size'):
            if getattr(self, name) < 32 or getattr(self, name) % 16:
                raise ValueError(f'{name}={getattr(self, name)}: cells are 16 pixels; use a multiple of it, 32 or more')


class Student(nn.Module):
    """A backbone with a linear projection of its last map, and of its class token, to the teacher's components.

    Args:
        backbone: The backbone.
        channels: Of its last map.
        components: Of the teacher.
        num_classes: Number of tags that a linear layer on the mean of the map predicts.
    """

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, backbone: nn.Module, channels: int, components: Components, num_classes: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Conv2d(channels, len(components.spread), kernel_size=1)
        self.classifier = nn.Linear(channels, num_classes) if num_classes else None
        self.register_buffer('mean', torch.tensor(MEAN).view(3, 1, 1) / 255)
        self.register_buffer('std', torch.tensor(STD).view(3, 1, 1) / 255)
        self.register_buffer('component_weight', components.spread / components.spread.mean())
        self.register_buffer('weight', components.weight)
        self.register_buffer('bias', components.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the last map of images in 0..1, and the class token where there is one.

        Shape:
            image (B, 3, H, W); output (B, C, h, w) and (B, C, 1, 1).
        """
        x = (image - self.mean) / self.std
        forward_with_tokens: Any = getattr(self.backbone, 'forward_with_tokens', None)
        if forward_with_tokens is None:
            return [self.backbone(x)[-1]]
        tokens = forward_with_tokens(x)
        return [tokens.maps[-1], tokens.class_token[..., None, None]]

    def losses(self, images: Tensor, targets: Tensor, tags: Tensor, recipe: Recipe) -> dict[str, Tensor]:
        """Compare with the teacher: weighted squared error of the maps, divergence of the logits of their means.

        `contrast` is the standard deviation of the student's mean outputs over the crops, relative to the teacher's:
        0 is one output for all.

        Shape:
            images (B, 3, H, W) in 0..1; targets (B, K, h, w), the teacher's components; tags (B, classes).
        """
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.amp):
            features = [x.float() for x in self(images)]
        predicted = [self.projection(x) for x in features]
        targets = F.interpolate(targets, size=predicted[0].shape[2:], mode='bilinear')

        error = (predicted[0] - targets).square().mean(dim=(0, 2, 3))
        teacher, *students = (
            F.log_softmax(F.linear(x.mean(dim=(2, 3)), self.weight, self.bias), dim=1) for x in (targets, *predicted)
        )
        divergences = [F.kl_div(x, teacher, reduction='batchmean', log_target=True) for x in students]
        losses = dict(features=(error * self.component_weight).mean(), divergence=torch.stack(divergences).mean())
        loss = losses['features'] + recipe.logit_weight * losses['divergence']
        if self.classifier is not None:
            losses['tags'] = tag_loss(self.classifier(features[0].mean(dim=(2, 3))), tags)
            loss = loss + recipe.tag_weight * losses['tags']
        agreement = (students[-1].argmax(dim=1) == teacher.argmax(dim=1)).float().mean()
        answers, wanted = (x.detach().mean(dim=(2, 3)).var(dim=0).sum() for x in (predicted[0], targets))
        return dict(loss=loss, **losses, agreement=agreement, contrast=(answers / wanted).sqrt())


def tag_loss(logits: Tensor, tags: Tensor) -> Tensor:
    """Return the binary cross-entropy of the images that have tags, 0 if none has; the others' are nan.

    Example:
        >>> tag_loss(torch.zeros(2, 1), torch.tensor([[1.0], [torch.nan]]))
        tensor(0.6931)
    """
    known = ~tags.isnan()
    loss = F.binary_cross_entropy_with_logits(logits, tags.nan_to_num(), reduction='none')
    return (loss * known).sum() / known.sum().clamp(min=1)


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
    """Train a Transformer on the answers of a teacher, or resume it from `out`; return the path of the result.

    Both see the same crops, each of the teacher's answers is computed anew, on the teacher's device.

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
    images = [path for folder in folders for path in folder]
    tags = torch.empty(len(images), 0) if tags is None else tags
    made_from = dict(arch=arch, images=[len(folder) for folder in folders], tags=_digest(tags), **teacher.identity)
    files = _Files(out, recipe, made_from, dict(meta or {}, **_origin(recipe)))
    state = files.read()
    if state is None:
        log(f'{teacher.name}: components of its features')
        components = principal_components(teacher, images, TEACHER_SIZE)
    else:
        components = Components(**state['components'])
    run = _Run(_build(arch, components, recipe, tags.shape[1]), teacher, components, files)
    steps = range(run.resume(state), min(recipe.steps, stop_at or recipe.steps))
    crops = Crops(folders, tags, recipe.steps, recipe.batch_size, seed=recipe.seed)
    run.train(crops, steps, num_workers, _Meter(steps.start, recipe, out / 'log.jsonl', log))
    return out / 'backbone.pth'


def _digest(tags: Tensor) -> str:
    """Return the number of classes, and a digest of what they are."""
    return f'{tags.shape[1]} classes, {hashlib.sha256(tags.numpy().tobytes()).hexdigest()[:16]}'


def _origin(recipe: Recipe) -> dict[str, Any]:
    """Return what is known of the weights that a run starts from."""
    return {} if recipe.weights is None else dict(started_from=read_checkpoint(recipe.weights).get('meta', {}))


def _build(arch: Any, components: Components, recipe: Recipe, num_tags: int = 0) -> Student:
    torch.manual_seed(recipe.seed)
    backbone = build_backbone(arch, recipe.weights)
    if recipe.weights is None:
        _narrow_mlps(backbone)
    with torch.no_grad():
        channels = backbone.eval()(torch.zeros(1, 3, 64, 64))[-1].shape[1]
    return Student(backbone, channels, components, num_tags).train()


def _narrow_mlps(backbone: nn.Module) -> None:
    """Draw the linear layers of a Mix Transformer's MLPs as all its others are drawn; mmseg's draw is for convolutions.

    With mmseg's the gradients are twice as large, and 400 steps learnt a little less (docs/results/distillation.md).
    """
    for block in (module for module in backbone.modules() if isinstance(module, MixFFN)):
        for layer in block.layers:
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                nn.init.trunc_normal_(layer.weight, std=0.02)


def size_of_crops(step: int, recipe: Recipe) -> int:
    """Return the side of the crops of a step: it rises in the last third, by 16 pixels each time.

    Example:
        >>> [size_of_crops(step, Recipe(steps=90)) for step in (0, 60, 75, 89)]
        [96, 96, 160, 224]
    """
    risen = max(0.0, 3 * step / recipe.steps - 2)
    return 16 * round((recipe.crop_size + risen * (recipe.final_crop_size - recipe.crop_size)) / 16)


def rate(step: int, recipe: Recipe) -> float:
    """Return the multiplier of the learning rate: linear rise, then half a cosine to 0."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))


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
    """A student in training on its teacher's device."""

    def __init__(self, student: Student, teacher: Teacher, components: Components, files: _Files) -> None:
        device = teacher.mean.device
        self.student, self.teacher, self.components = student.to(device), teacher, components.to(device)
        self.recipe, self.files = files.recipe, files
        self.optimizers = Optimizers(student, self.recipe.weight_decay)

    def train(self, crops: Crops, steps: range, num_workers: int, meter: '_Meter') -> None:
        loader = DataLoader(crops, batch_size=None, sampler=steps, num_workers=num_workers)
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

    def resume(self, state: Optional[dict[str, Any]]) -> int:
        """Load the state of an interrupted run, if there is one; return its step."""
        if state is None:
            return 0
        for name in ('student', 'optimizers'):
            getattr(self, name).load_state_dict(state[name])
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
