"""Pseudo-label rules: modules that turn CAMs into the labels that segmentation learns from."""

from .affinity import AffinityPseudoLabeler
from .base import Affinity, CamOutput, CamPseudoLabeler, PseudoLabeler

__all__ = ['Affinity', 'AffinityPseudoLabeler', 'CamOutput', 'CamPseudoLabeler', 'PseudoLabeler']
