"""Transforms: loading, random scale, crop with box, packing."""

from .loading import LoadImage, LoadMask
from .samples import PackImageLevelInputs, RandomCropWithBox, RandomScale

__all__ = ['LoadImage', 'LoadMask', 'PackImageLevelInputs', 'RandomCropWithBox', 'RandomScale']
