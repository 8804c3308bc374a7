"""Registered models: thin modules around `afa_mmseg.functional`."""

from .backbones import AttnMixVisionTransformer
from .decode_heads import AFAHead
from .losses import AffinityLoss, BalancedCrossEntropyLoss, MultiLabelSoftMarginLoss
from .refiners import PAMR, PAR
from .segmentors import WeaklySupervisedSegmentor

__all__ = [
    'PAMR',
    'PAR',
    'AFAHead',
    'AffinityLoss',
    'AttnMixVisionTransformer',
    'BalancedCrossEntropyLoss',
    'MultiLabelSoftMarginLoss',
    'WeaklySupervisedSegmentor',
]
