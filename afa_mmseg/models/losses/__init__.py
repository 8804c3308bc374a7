"""Losses of weakly-supervised training."""

from .losses import AffinityLoss, BalancedCrossEntropyLoss, DenseEnergyLoss, MultiLabelSoftMarginLoss
from .token_contrast import ClassTokenContrastLoss, PatchTokenContrastLoss

__all__ = [
    'AffinityLoss',
    'BalancedCrossEntropyLoss',
    'ClassTokenContrastLoss',
    'DenseEnergyLoss',
    'MultiLabelSoftMarginLoss',
    'PatchTokenContrastLoss',
]
