"""Export of segmentors to ONNX."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from ..functional.cam import resize
from ..utils import atomic_path

#: Side of the traced image in pixels; the graph supports any size.
TRACE_SIZE = 128


class Exportable(nn.Module):
    """Backbone and head of a segmentor of mmseg: RGB in 0..255 (B, 3, H, W) to logits (B, C + 1, H, W)."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        preprocessor = model.data_preprocessor
        if getattr(preprocessor, 'mean', None) is None or getattr(preprocessor, 'std', None) is None:
            raise ValueError('model.data_preprocessor requires mean and std: normalisation is part of the graph')
        self.backbone, self.decode_head = model.backbone, model.decode_head
        self.register_buffer('mean', preprocessor.mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', preprocessor.std.view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits in the size of the image."""
        return resize(self.decode_head(self.backbone((image - self.mean) / self.std)), image.shape[-2:])


def export_onnx(model: EncoderDecoder, path: Union[str, Path]) -> None:
    """Write a segmentor as ONNX: `image` (B, 3, H, W), RGB in 0..255, to `logits` (B, C + 1, H, W), sizes free.

    Args:
        model: A trained segmentor, as returned by mmseg's `init_model`.
        path: File, written atomically.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is missing.
        ValueError: The data preprocessor has no mean and standard deviation.
    """
    _require('onnx', 'onnxscript')
    exportable = Exportable(model).eval()
    # Two images: with one the batch size would be fixed.
    image = 255 * torch.rand(2, 3, TRACE_SIZE, TRACE_SIZE + 32, device=exportable.mean.device)
    free = torch.export.Dim.DYNAMIC
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporter warns of torch's own code
        torch.onnx.export(
            exportable,
            (image,),
            str(temporary),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=['image'],
            output_names=['logits'],
            dynamic_shapes=dict(image={0: free, 2: free, 3: free}),
        )


def run_onnx(path: Union[str, Path], image: np.ndarray) -> np.ndarray:
    """Run an exported file on images, by onnxruntime on the CPU.

    Shape:
        image (B, 3, H, W), RGB in 0..255; output logits (B, C + 1, H, W).

    Raises:
        ModuleNotFoundError: onnxruntime is missing.
    """
    return open_onnx(path).run(None, dict(image=image.astype(np.float32)))[0]


def open_onnx(path: Union[str, Path]) -> Any:
    """Load an exported file as an `onnxruntime.InferenceSession` on the CPU."""
    _require('onnxruntime')
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f'{", ".join(missing)} not installed: pip install -e ".[onnx]"')
