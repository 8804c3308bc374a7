"""Segmentors that learn from image-level labels."""

from .pseudo_labeler import PseudoLabeler
from .weakly_supervised import Phases, WeaklySupervisedSegmentor

__all__ = ['Phases', 'PseudoLabeler', 'WeaklySupervisedSegmentor']
