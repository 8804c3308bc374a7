"""Metrics of weakly-supervised segmentation."""

from .cam_iou_metric import CAMIoUMetric
from .image_f1_metric import ImageF1Metric
from .palette_iou_metric import PaletteIoUMetric

__all__ = ['CAMIoUMetric', 'ImageF1Metric', 'PaletteIoUMetric']
