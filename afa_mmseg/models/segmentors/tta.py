"""Multi-scale, mirrored testing as AFA was published with."""

from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...functional.cam import resize


@MODELS.register_module()
class MaxScaleTTAModel(BaseTTAModel):
    """Average each scale's logits with those of its mirror image, and take the maximum over scales (AFA, CVPR 2022).

    Images are scaled inside, after normalisation and bilinearly, as in the published test: the pipeline in
    front leaves them as they are. A segmentor with `post_process` (a CRF) applies it to the merged prediction.

    Args:
        module: The segmentor, or its config; any of mmseg's will do.
        scales: Factors on both sides, relative to the image with its longer side at `long_side`.
        long_side: Length of the longer side at scale 1, in pixels; None keeps the image's own.
        kwargs: Passed to mmengine's `BaseTTAModel`.

    Raises:
        ValueError: `scales` is empty or not positive, or `long_side` is not positive.
    """

    def __init__(
        self,
        module: Any,
        scales: Sequence[float] = (1.0, 0.5, 0.75),
        long_side: Optional[int] = 512,
        **kwargs: Any,
    ) -> None:
        if not scales or min(scales) <= 0 or (long_side is not None and long_side <= 0):
            raise ValueError(
                f'tta_model: scales={tuple(scales)} must be one or more positive factors and long_side={long_side} '
                'a positive number of pixels, such as scales=(1.0, 0.5, 0.75), long_side=512'
            )
        super().__init__(module=module, **kwargs)
        self.scales = sorted(scales, key=lambda scale: abs(scale - 1))
        self.long_side = long_side

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Segment the images of a batch one after another, whatever their sizes."""
        results = []
        for inputs, sample in zip(data['inputs'], data['data_samples']):
            batch = self.module.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]), False)
            logits = resize(self.merged_logits(batch['inputs']), batch['inputs'].shape[-2:])
            merged = self.module.postprocess_result(logits, batch['data_samples'])
            if hasattr(self.module, 'post_process'):
                self.module.post_process(batch['inputs'], merged)
            results += merged
        return results

    def merged_logits(self, image: Tensor) -> Tensor:
        """Merge the logits of all scales on the grid of the scale nearest to 1.

        Shape:
            image (B, 3, H, W), normalised; output (B, C, h, w).
        """
        height, width = image.shape[-2:]
        ratio = 1 if self.long_side is None else self.long_side / max(height, width)
        image = resize(image, (max(int(height * ratio), 1), max(int(width * ratio), 1)))
        merged: list[Tensor] = []
        for scale in self.scales:
            scaled = rescale(image, scale)
            plain, mirrored = self.module(torch.cat([scaled, scaled.flip(-1)])).chunk(2)
            logits = (plain + mirrored.flip(-1)) / 2
            merged = [torch.maximum(merged[0], resize(logits, merged[0].shape[-2:]))] if merged else [logits]
        return merged[0]

    def merge_preds(self, data_samples_list: list) -> list:
        """Not used: `test_step` merges logits, not predictions."""
        raise NotImplementedError


def rescale(image: Tensor, scale: float) -> Tensor:
    """Scale images bilinearly, sampling at coordinates divided by the factor, not by the ratio of the rounded sizes.

    The two differ where side times factor is no whole number: by up to one pixel at the far border.

    Shape:
        image (B, C, H, W); output (B, C, floor(H * scale), floor(W * scale)).
    """
    if scale == 1:
        return image
    return F.interpolate(image, scale_factor=scale, mode='bilinear', align_corners=False, recompute_scale_factor=False)
