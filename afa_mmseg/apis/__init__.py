"""Inference, publishing and export with trained segmentors."""

from .inferencer import WeakSegInferencer
from .loading import init_model
from .onnx import export_onnx, run_onnx
from .pseudo_labels import export_pseudo_labels
from .publishing import publish

__all__ = ['WeakSegInferencer', 'export_onnx', 'export_pseudo_labels', 'init_model', 'publish', 'run_onnx']
