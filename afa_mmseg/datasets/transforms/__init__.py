"""Transforms of training with image-level labels; registered in mmseg's `TRANSFORMS`."""

from .crop import RandomCropWithBox
from .formatting import PackImageLevelInputs
from .loading import LoadImage
from .masks import LoadMask
from .scale import RandomScale
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
