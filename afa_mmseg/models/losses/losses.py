"""Registered losses: weights over the functional ones."""

from typing import Any, Optional

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import affinity_loss, balanced_cross_entropy, dense_energy_loss


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """Affinity loss with positive and negative pairs of equal weight; see `functional.affinity_loss`.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 0.1) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, affinity: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
        """Compare affinity (B, hw, hw) with target (B, hw, hw); output scalar."""
        return self.loss_weight * affinity_loss(affinity, target, ignore_index)


@MODELS.register_module()
class BalancedCrossEntropyLoss(nn.Module):
    """Cross-entropy with background and foreground of equal weight; see `functional.balanced_cross_entropy`.

    Args:
        loss_weight: Factor on the loss.
        loss_name: Its name in the log.
    """

    def __init__(self, loss_weight: float = 0.1, loss_name: str = 'loss_seg') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, label: Tensor, ignore_index: int = 255, **kwargs: Any) -> Tensor:
        """Compare logits (B, C + 1, H, W) with label (B, H, W); output scalar."""
        return self.loss_weight * balanced_cross_entropy(logits, label, ignore_index)


@MODELS.register_module()
class MultiLabelSoftMarginLoss(nn.Module):
    """Multi-label soft margin loss of image logits, `torch`'s own.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, gt_label: Tensor) -> Tensor:
        """Compare logits (B, C) with gt_label (B, C); output scalar."""
        return self.loss_weight * F.multilabel_soft_margin_loss(logits, gt_label)


@MODELS.register_module()
class DenseEnergyLoss(nn.Module):
    """Regularised loss: labels that change where colours do not cost energy; see `functional.dense_energy_loss`.

    Args:
        loss_weight: Factor on the loss, beside the published 1e-7 inside.
        sigma_rgb: Standard deviation over colours, in grey values.
        sigma_xy: Standard deviation over positions, in pixels.
        scale_factor: The energy is computed at this scale.
    """

    def __init__(
        self,
        loss_weight: float = 0.01,
        sigma_rgb: float = 15.0,
        sigma_xy: float = 100.0,
        scale_factor: float = 0.5,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.settings = dict(sigma_rgb=sigma_rgb, sigma_xy=sigma_xy, scale_factor=scale_factor)

    def forward(
        self, logits: Tensor, image: Tensor, label: Tensor, boxes: Optional[Tensor] = None, ignore_index: int = 255
    ) -> Tensor:
        """Compare logits (B, C + 1, H, W) with image (B, 3, H, W) in 0..255, in boxes (B, 4); output scalar."""
        energy = dense_energy_loss(logits, image, label, boxes, ignore_index=ignore_index, **self.settings)
        return self.loss_weight * energy

    def extra_repr(self) -> str:
        """Show the settings in `print(model)`."""
        return ', '.join(f'{name}={value}' for name, value in self.settings.items())
