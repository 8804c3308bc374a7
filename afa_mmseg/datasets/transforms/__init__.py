"""Transforms of training with image-level labels; registered in mmseg's `TRANSFORMS`."""

from .crop import RandomCropWithBox
from .formatting import PackImageLevelInputs
from .loading import LoadPicture
from .scale import RandomScale

__all__ = ['LoadPicture', 'PackImageLevelInputs', 'RandomCropWithBox', 'RandomScale']
