"""Principal components of a teacher's features, which a student learns in place of its channels.

192 of EfficientNet-Lite2's 1 280 give its own class on 84 % of crops (docs/results/distillation.md).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .crops import load_square
from .teacher import Teacher

#: Images that components are computed from, images a batch, and components kept.
SAMPLE, BATCH, KEPT = 1000, 32, 192


class Components(NamedTuple):
    """What turns a teacher's features into whitened components, and these into logits.

    Args:
        mean: Mean of the features.
        whiten: Principal directions, divided by the standard deviations along them.
        spread: These standard deviations.
        weight: Linear layer of the teacher on whitened components.
        bias: Its bias.

    Shape:
        mean (C, 1, 1); whiten (K, C); spread (K,); weight (classes, K); bias (classes,).
    """

    mean: Tensor
    whiten: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor

    def of(self, features: Tensor) -> Tensor:
        """Return the components (B, K, h, w) of features (B, C, h, w)."""
        return torch.einsum('kc,bchw->bkhw', self.whiten, features - self.mean)

    def to(self, device: torch.device) -> 'Components':
        """Return the same on a device."""
        return Components(*(x.to(device) for x in self))


def principal_components(teacher: Teacher, images: Sequence[Path], size: int, kept: int = KEPT) -> Components:
    """Compute the components of a teacher's features on some images.

    Args:
        teacher: The teacher.
        images: Image files; at most `SAMPLE` evenly spaced ones are read.
        size: Side that they are resized to, in pixels.
        kept: Largest number of components. Directions without variance are left out.

    Raises:
        ValueError: The features are the same everywhere.
    """
    total = torch.zeros(teacher.num_channels, dtype=torch.float64)
    product, count = total.new_zeros(len(total), len(total)), 0
    sample = images[:: -(-len(images) // SAMPLE)]
    for start in range(0, len(sample), BATCH):
        with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
            batch = torch.stack([*pool.map(load_square, sample[start : start + BATCH], repeat(size))])
        features = teacher(batch.to(teacher.mean.device) / 255)
        cells = features.transpose(0, 1).flatten(1).T.double().cpu()  # (B h w, C)
        total, product, count = total + cells.sum(dim=0), product + cells.T @ cells, count + len(cells)
    mean = total / count
    values, vectors = torch.linalg.eigh(product / count - torch.outer(mean, mean))
    used = min(kept, int((values > (1e-6 * values[-1]).clamp(min=1e-12)).sum()))
    if used == 0:
        raise ValueError(f'teacher {teacher.name}: its features are the same everywhere. Check its weights')
    spread, vectors = values.flip(0)[:used].sqrt(), vectors.flip(1)[:, :used]
    assert teacher.linear is not None
    weight, bias = (x.detach().double().cpu() for x in (teacher.linear.weight, teacher.linear.bias))
    found = (mean.view(-1, 1, 1), (vectors / spread).T, spread, weight @ (vectors * spread), bias + weight @ mean)
    return Components(*(x.float().contiguous() for x in found))
