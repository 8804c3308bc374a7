"""Refiners that smooth CAMs along image edges."""

from .local import PAMR, PAR, NoRefinement

__all__ = ['PAMR', 'PAR', 'NoRefinement']
