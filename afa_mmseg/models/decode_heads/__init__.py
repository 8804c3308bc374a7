"""Decode heads with a classifier and an affinity beside the segmentation."""

from .afa_head import AFAHead

__all__ = ['AFAHead']
