"""What to do with a trained segmentor."""

from .onnx import export_onnx, run_onnx

__all__ = ['export_onnx', 'run_onnx']
