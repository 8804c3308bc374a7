"""Refiners: modules that smooth CAMs along image edges."""

from .base import NoRefinement, Refiner
from .dense_crf import DenseCRF
from .pamr import PAMR
from .par import PAR

__all__ = ['PAMR', 'PAR', 'DenseCRF', 'NoRefinement', 'Refiner']
