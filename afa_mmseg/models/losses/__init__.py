"""Losses of weakly-supervised training."""

from .losses import AffinityLoss, BalancedCrossEntropyLoss, DenseEnergyLoss, MultiLabelSoftMarginLoss

__all__ = ['AffinityLoss', 'BalancedCrossEntropyLoss', 'DenseEnergyLoss', 'MultiLabelSoftMarginLoss']
