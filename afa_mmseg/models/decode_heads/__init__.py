"""Decode heads with a classifier and an affinity beside the segmentation."""

from .afa_head import AFAHead
from .toco_head import ClassTokenProjector, ToCoHead

__all__ = ['AFAHead', 'ClassTokenProjector', 'ToCoHead']
