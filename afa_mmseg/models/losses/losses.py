"""Registered losses: weights over the functional ones."""

from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import affinity_loss, balanced_cross_entropy


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
