"""Refiners that smooth CAMs along image edges."""

from .crf import DenseCRF
from .local import PAMR, PAR, NoRefinement

__all__ = ['PAMR', 'PAR', 'DenseCRF', 'NoRefinement']
