"""Registered models: thin modules around `afa_mmseg.functional`."""

from .backbones import (
    AttentionBackbone,
    AttnMixVisionTransformer,
    AttnVisionTransformer,
    HybridVisionTransformer,
)
from .data_preprocessor import NonBlockingSegDataPreProcessor
from .decode_heads import AFAHead, ToCoHead
from .losses import (
    AffinityLoss,
    BalancedCrossEntropyLoss,
    ClassTokenContrastLoss,
    DenseEnergyLoss,
    MultiLabelSoftMarginLoss,
    PatchTokenContrastLoss,
)
from .pseudo_labelers import AffinityPseudoLabeler, CamOutput, CamPseudoLabeler, PseudoLabeler
from .refiners import PAMR, PAR, DenseCRF, NoRefinement, Refiner
from .segmentors import AFA, Classification, Explanation, ImageLevelSegmentor, MaxScaleTTAModel, ToCo

__all__ = [
    'AFA',
    'PAMR',
    'PAR',
    'AFAHead',
    'AffinityLoss',
    'AffinityPseudoLabeler',
    'AttentionBackbone',
    'AttnMixVisionTransformer',
    'AttnVisionTransformer',
    'HybridVisionTransformer',
    'BalancedCrossEntropyLoss',
    'CamOutput',
    'CamPseudoLabeler',
    'ClassTokenContrastLoss',
    'Classification',
    'DenseCRF',
    'DenseEnergyLoss',
    'Explanation',
    'ImageLevelSegmentor',
    'MaxScaleTTAModel',
    'MultiLabelSoftMarginLoss',
    'NoRefinement',
    'NonBlockingSegDataPreProcessor',
    'PatchTokenContrastLoss',
    'PseudoLabeler',
    'Refiner',
    'ToCo',
    'ToCoHead',
]
