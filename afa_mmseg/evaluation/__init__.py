"""Metrics of weakly-supervised segmentation."""

from .image_f1_metric import ImageF1Metric
from .iou_metrics import CAMIoUMetric, PaletteIoUMetric

__all__ = ['CAMIoUMetric', 'ImageF1Metric', 'PaletteIoUMetric']
