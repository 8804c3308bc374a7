"""Transforms of training with image-level labels; registered in mmseg's `TRANSFORMS`."""

from .crop import RandomCropWithBox
from .formatting import PackImageLevelInputs
from .scale import RandomScale

__all__ = ['PackImageLevelInputs', 'RandomCropWithBox', 'RandomScale']
