"""Metrics of weakly-supervised segmentation."""

from .cam_iou_metric import CAMIoUMetric
from .palette_iou_metric import PaletteIoUMetric

__all__ = ['CAMIoUMetric', 'PaletteIoUMetric']
