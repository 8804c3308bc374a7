"""Segmentors that learn from image-level labels: the base class, and one file for each method."""

from .afa import AFA, Phases
from .base import Classification, ImageLevelSegmentor
from .explanation import Explanation
from .toco import ToCo, ToCoSettings
from .toco_tta import ToCoTTAModel
from .tta import MaxScaleTTAModel

__all__ = [
    'AFA',
    'Classification',
    'Explanation',
    'ImageLevelSegmentor',
    'MaxScaleTTAModel',
    'Phases',
    'ToCo',
    'ToCoSettings',
    'ToCoTTAModel',
]
