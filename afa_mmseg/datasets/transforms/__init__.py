"""Transforms: loading, random scale, crop with box, packing."""

from .loading import LoadImage, LoadMask
from .samples import PackImageLevelInputs, RandomCropWithBox, RandomScale
from .views import AddView, PackViews

__all__ = [
    'AddView',
    'LoadImage',
    'LoadMask',
    'PackImageLevelInputs',
    'PackViews',
    'RandomCropWithBox',
    'RandomScale',
]
