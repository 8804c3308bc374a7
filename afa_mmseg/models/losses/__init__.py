"""Losses of weakly-supervised training."""

from .losses import AffinityLoss, BalancedCrossEntropyLoss, MultiLabelSoftMarginLoss

__all__ = ['AffinityLoss', 'BalancedCrossEntropyLoss', 'MultiLabelSoftMarginLoss']
