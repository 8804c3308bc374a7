"""Regularised ("dense energy") loss: labels that change where colours do not cost energy."""

from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .permutohedral import PermutohedralLattice, bilateral_features, check_maps, check_positive
from .pseudo_label import inside_boxes


def dense_energy_loss(
    logits: Tensor,
    image: Tensor,
    label: Tensor,
    boxes: Optional[Tensor] = None,
    *,
    sigma_rgb: float = 15.0,
    sigma_xy: float = 100.0,
    scale_factor: float = 0.5,
    weight: float = 1e-7,
    ignore_index: int = 255,
) -> Tensor:
    """Reward segmentations that agree between pixels of similar position and colour (Tang et al., ECCV 2018).

    -<P, gate * K P> / B, with P the class probabilities inside the boxes and K the bilateral filter. The gate is
    1 where the label is undecided, elsewhere what the likeliest class lacks to certainty.

    Args:
        logits: Class scores before softmax.
        image: RGB in 0..255, as it was before normalisation.
        label: Class indices.
        boxes: Real image in each crop, as top, bottom, left, right (half-open). None: all of it.
        sigma_rgb: Standard deviation over colours, in pixel values.
        sigma_xy: Standard deviation over positions, in pixels of `image`.
        scale_factor: All of it is done at this scale.
        weight: Factor on the energy.
        ignore_index: Label of undecided pixels.

    Shape:
        logits (B, C, H, W); image (B, 3, H, W); label (B, H, W); boxes (B, 4); output scalar.

    Raises:
        ValueError: shapes do not fit, a sigma or `scale_factor` is not positive, or an input holds NaN or infinity.
    """
    check_positive(sigma_rgb=sigma_rgb, sigma_xy=sigma_xy)
    scale_factor = _usable_scale(scale_factor, image.shape[-2:])
    prob, image, label, inside = _resize_all(logits, image, label, boxes, scale_factor)
    lattice = PermutohedralLattice(bilateral_features(image, sigma_rgb, sigma_xy * scale_factor))
    return weight * _DenseEnergy.apply(prob * inside, _gate(prob, inside, label == ignore_index), lattice)


def _usable_scale(scale_factor: float, size: Sequence[int]) -> float:
    """Check a scale, and raise it where less than a pixel would remain."""
    if not 0 < scale_factor <= 1:
        raise ValueError(f'scale_factor={scale_factor} must be above 0 and at most 1')
    height, width = size
    return max(scale_factor, min(1, (1 + 1e-9) / max(min(height, width), 1)))


def _resize_all(
    logits: Tensor, image: Tensor, label: Tensor, boxes: Optional[Tensor], scale_factor: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return probabilities, image, label and the inside of the boxes at a scale."""
    height, width = image.shape[-2:]
    if boxes is None:
        boxes = torch.tensor([[0, height, 0, width]]).expand(len(image), 4)
    _check_shapes(logits, image, label, boxes)
    prob = logits.float().softmax(dim=1)
    if scale_factor != 1:
        prob = F.interpolate(prob, scale_factor=scale_factor, mode='bilinear', align_corners=False)
    inside = inside_boxes(boxes.to(label.device, non_blocking=True), height, width)
    image, label, inside = (
        F.interpolate(x.float(), scale_factor=scale_factor, mode='nearest')
        for x in (image, label[:, None], inside[:, None])
    )
    return prob, image, label, inside


def _gate(prob: Tensor, inside: Tensor, undecided: Tensor) -> Tensor:
    gate = (inside - prob.detach().amax(dim=1, keepdim=True)).clamp(min=0)
    return torch.where(undecided, 1, gate)


def _check_shapes(logits: Tensor, image: Tensor, label: Tensor, boxes: Tensor) -> None:
    check_maps(image, logits)
    if label.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(f'logits (B, C, H, W) and label (B, H, W) differ: {tuple(logits.shape)}, {tuple(label.shape)}')
    if boxes.shape != (len(image), 4):
        raise ValueError(f'boxes must be (B, 4) with B = {len(image)}, got {tuple(boxes.shape)}')


class _DenseEnergy(torch.autograd.Function):
    """-<P, gate * K P> / B with the published gradient, -2 * gate * K P / B, which is 0 where P was masked.

    It takes the gate as a constant and K as symmetric: it is that of the energy where the gate is the same everywhere,
    up to the lattice's slight asymmetry.
    """

    @staticmethod
    def forward(ctx: Any, prob: Tensor, gate: Tensor, lattice: PermutohedralLattice) -> Tensor:
        """Compute the energy of prob (B, C, H, W) under gate (B, 1, H, W)."""
        filtered = lattice(prob.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(prob.shape)
        gated = gate * filtered / len(prob)
        ctx.save_for_backward(gated)
        return -(prob * gated).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the published gradient."""
        (gated,) = ctx.saved_tensors
        return -2 * grad * gated, None, None
