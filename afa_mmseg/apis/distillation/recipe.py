"""The settings of a distillation, and what they make of each step: size of the crops, learning rate."""

import math
from dataclasses import dataclass
from typing import Optional

from .optimizers import require_muon


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


def size_of_crops(step: int, recipe: Recipe) -> int:
    """Return the side of the crops of a step: it rises in the last third, by 16 pixels each time.

    Example:
        >>> [size_of_crops(step, Recipe(steps=90)) for step in (0, 60, 75, 89)]
        [128, 128, 176, 224]
    """
    risen = max(0.0, 3 * step / recipe.steps - 2)
    return 16 * round((recipe.crop_size + risen * (recipe.final_crop_size - recipe.crop_size)) / 16)


def rate(step: int, recipe: Recipe) -> float:
    """Return the multiplier of the learning rate: linear rise, then half a cosine to 0."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))
