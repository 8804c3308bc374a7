"""Registered models: thin modules around `afa_mmseg.functional`."""

from .backbones import AttnMixVisionTransformer
from .decode_heads import AFAHead
from .losses import AffinityLoss, BalancedCrossEntropyLoss, DenseEnergyLoss, MultiLabelSoftMarginLoss
from .refiners import PAMR, PAR, DenseCRF, NoRefinement
from .segmentors import MaxScaleTTAModel, WeaklySupervisedSegmentor

__all__ = [
    'PAMR',
    'PAR',
    'AFAHead',
    'AffinityLoss',
    'AttnMixVisionTransformer',
    'BalancedCrossEntropyLoss',
    'DenseCRF',
    'DenseEnergyLoss',
    'MaxScaleTTAModel',
    'MultiLabelSoftMarginLoss',
    'NoRefinement',
    'WeaklySupervisedSegmentor',
]
