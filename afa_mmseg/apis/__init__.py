"""Inference and export with trained segmentors."""

from .inferencer import WeakSegInferencer
from .loading import load_segmentor
from .onnx import export_onnx, run_onnx
from .pseudo_labels import export_pseudo_labels

__all__ = ['WeakSegInferencer', 'export_onnx', 'export_pseudo_labels', 'load_segmentor', 'run_onnx']
