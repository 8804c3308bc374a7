"""Metrics of weakly-supervised segmentation."""

from .cam_iou_metric import CAMIoUMetric

__all__ = ['CAMIoUMetric']
