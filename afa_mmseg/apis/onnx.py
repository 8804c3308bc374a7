"""Export of segmentors to ONNX."""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from ..functional.cam import resize
from ..utils import atomic_path
from ..utils.checks import import_extra

#: Side of the traced image in pixels; the graph supports any size.
TRACE_SIZE = 128


class Exportable(nn.Module):
    """Backbone and head of a segmentor of mmseg: RGB in 0..255 (B, 3, H, W) to logits, or with `argmax` to labels."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: EncoderDecoder, argmax: bool = False) -> None:
        super().__init__()
        preprocessor = model.data_preprocessor
        if getattr(preprocessor, 'mean', None) is None or getattr(preprocessor, 'std', None) is None:
            raise ValueError('model.data_preprocessor requires mean and std: normalisation is part of the graph')
        self.backbone, self.decode_head, self.argmax = model.backbone, model.decode_head, argmax
        self.test_size = getattr(model, 'test_size', None)
        self.register_buffer('mean', preprocessor.mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', preprocessor.std.view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C + 1, H, W), or labels (B, H, W), uint8, in the size of the image."""
        inputs = (image - self.mean) / self.std
        if self.test_size is not None:
            inputs = resize(inputs, self.test_size)
        logits = resize(self.decode_head(self.backbone(inputs)), image.shape[-2:])
        return logits.argmax(dim=1).to(torch.uint8) if self.argmax else logits


def export_onnx(model: EncoderDecoder, path: Union[str, Path], *, argmax: bool = False) -> None:
    """Write a segmentor as ONNX: `image` (B, 3, H, W), RGB in 0..255, to `logits` (B, C + 1, H, W), sizes free.

    The metadata of the file has `classes`, a JSON list of the names, background first, and `palette`, their RGB.

    Args:
        model: A trained segmentor, as returned by `init_model`.
        path: File, written atomically.
        argmax: Write `labels` (B, H, W), class indices, uint8, instead of logits.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is missing.
        ValueError: The data preprocessor has no mean and standard deviation.
    """
    for package in ('onnx', 'onnxscript'):
        import_extra(package, 'onnx')
    exportable = Exportable(model, argmax).eval()
    # Two images: with one the batch size would be fixed.
    image = 255 * torch.rand(2, 3, TRACE_SIZE, TRACE_SIZE + 32, device=exportable.mean.device)
    free = torch.export.Dim.DYNAMIC
    with atomic_path(path) as temporary, integer_padding(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporter warns of torch's own code
        program: Any = torch.onnx.export(
            exportable,
            (image,),
            dynamo=True,
            verbose=False,
            input_names=['image'],
            output_names=['labels' if argmax else 'logits'],
            dynamic_shapes=dict(image={0: free, 2: free, 3: free}),
        )
        meta = getattr(model, 'dataset_meta', None) or {}
        program.model.metadata_props.update(
            {key: json.dumps(meta[key]) for key in ('classes', 'palette') if key in meta}
        )
        program.save(str(temporary), external_data=False)


@contextmanager
def integer_padding() -> Iterator[None]:
    """Have timm pad `Conv2dSame` by integer arithmetic inside a `with` block.

    timm rounds by `math.ceil` and cuts off by `max`; nested over the strides of an EfficientNet of TensorFlow, the
    exporter did not simplify that for symbolic sizes within minutes.
    """
    module: Any = sys.modules.get('timm.layers.padding')
    if module is None:
        yield
        return
    before, module.get_same_padding = module.get_same_padding, same_padding
    try:
        yield
    finally:
        module.get_same_padding = before


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return by how many cells TensorFlow's rule 'SAME' pads a side, before and after together.

    Example:
        >>> same_padding(10, kernel=3, stride=2, dilation=1)
        1
    """
    extent = dilation * (kernel - 1) + 1
    if extent >= stride:
        return extent - stride + (-size) % stride
    return max((-(-size // stride) - 1) * stride + extent - size, 0)


def run_onnx(path: Union[str, Path], image: np.ndarray) -> np.ndarray:
    """Run an exported file on images, by onnxruntime on the CPU.

    Shape:
        image (B, 3, H, W), RGB in 0..255; output logits (B, C + 1, H, W), or labels (B, H, W).

    Raises:
        ModuleNotFoundError: onnxruntime is missing.
    """
    return open_onnx(path).run(None, dict(image=image.astype(np.float32)))[0]


def open_onnx(path: Union[str, Path]) -> Any:
    """Load an exported file as an `onnxruntime.InferenceSession` on the CPU."""
    onnxruntime = import_extra('onnxruntime', 'onnx')
    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
