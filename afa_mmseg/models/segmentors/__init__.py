"""Segmentors that learn from image-level labels."""

from .pseudo_labeler import PseudoLabeler
from .tta import MaxScaleTTAModel
from .weakly_supervised import Phases, WeaklySupervisedSegmentor

__all__ = ['MaxScaleTTAModel', 'Phases', 'PseudoLabeler', 'WeaklySupervisedSegmentor']
