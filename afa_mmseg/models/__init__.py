"""Registered models: thin modules around `afa_mmseg.functional`."""

from .backbones import AttnMixVisionTransformer
from .data_preprocessor import NonBlockingSegDataPreProcessor
from .decode_heads import AFAHead
from .losses import AffinityLoss, BalancedCrossEntropyLoss, DenseEnergyLoss, MultiLabelSoftMarginLoss
from .pseudo_labelers import AffinityPseudoLabeler, CamPseudoLabeler, PseudoLabeler
from .refiners import PAMR, PAR, DenseCRF, NoRefinement, Refiner
from .segmentors import AFA, ImageLevelSegmentor, MaxScaleTTAModel

__all__ = [
    'AFA',
    'PAMR',
    'PAR',
    'AFAHead',
    'AffinityLoss',
    'AffinityPseudoLabeler',
    'AttnMixVisionTransformer',
    'BalancedCrossEntropyLoss',
    'CamPseudoLabeler',
    'DenseCRF',
    'DenseEnergyLoss',
    'ImageLevelSegmentor',
    'MaxScaleTTAModel',
    'MultiLabelSoftMarginLoss',
    'NoRefinement',
    'NonBlockingSegDataPreProcessor',
    'PseudoLabeler',
    'Refiner',
]
