"""A segmentor as an ONNX file, for other runtimes."""

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

#: Side of the picture that the graph is traced with, in pixels; the graph takes any size.
TRACE_SIZE = 128


class Exportable(nn.Module):
    """Backbone and head of a segmentor, from grey values to logits.

    Args:
        model: Segmentor of mmseg in `mode='whole'`.

    Raises:
        ValueError: The model's preprocessor does not say mean and standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        preprocessor = model.data_preprocessor
        if getattr(preprocessor, 'mean', None) is None or getattr(preprocessor, 'std', None) is None:
            raise ValueError('data_preprocessor of the model needs mean and std: normalisation is part of the graph')
        self.backbone, self.decode_head = model.backbone, model.decode_head
        self.register_buffer('mean', preprocessor.mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', preprocessor.std.view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Segment pictures.

        Shape:
            image (B, 3, H, W), RGB in 0..255; output logits (B, C + 1, H, W).
        """
        return resize(self.decode_head(self.backbone((image - self.mean) / self.std)), image.shape[-2:])


def export_onnx(model: EncoderDecoder, path: Union[str, Path]) -> None:
    """Write a segmentor as ONNX: `image` (B, 3, H, W), RGB in 0..255, to `logits` (B, C + 1, H, W), sizes free.

    Args:
        model: A trained segmentor, such as mmseg's `init_model` gives.
        path: File to write, whole or not at all.

    Raises:
        ModuleNotFoundError: The packages that write ONNX are missing.
        ValueError: See `Exportable`.
    """
    _require('onnx', 'onnxscript')
    exportable = Exportable(model).eval()
    # Two pictures: a batch of one would be taken for the only size.
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
    """Segment pictures by an exported file, through onnxruntime on the CPU.

    Shape:
        image (B, 3, H, W), RGB in 0..255; output logits (B, C + 1, H, W).

    Raises:
        ModuleNotFoundError: onnxruntime is missing.
    """
    return open_onnx(path).run(None, dict(image=image.astype(np.float32)))[0]


def open_onnx(path: Union[str, Path]) -> Any:
    """Load an exported file for running on the CPU: an `onnxruntime.InferenceSession`."""
    _require('onnxruntime')
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f'{", ".join(missing)} not installed: pip install -e ".[onnx]"')
