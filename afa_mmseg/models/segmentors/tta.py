"""Multi-scale, mirrored testing as AFA was published with."""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...functional.cam import resize

#: How two maps of logits become one.
MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'mean': lambda a, b: (a + b) / 2,
    'sum': torch.add,
    'max': torch.maximum,
}


@MODELS.register_module()
class MaxScaleTTAModel(BaseTTAModel):
    """Merge each scale's logits with those of its mirror image, then those of all scales.

    The defaults, the mean of the mirror images and the maximum over scales, are those of AFA (Ru et al., CVPR 2022).

    Images are scaled inside, after normalisation and bilinearly, as in the published test: the pipeline in
    front leaves them as they are. A segmentor with `post_process` (a CRF) applies it to the merged prediction.

    Args:
        module: The segmentor, or its config; any of mmseg's will do.
        scales: Factors on both sides, relative to the image with its longer side at `long_side`.
        long_side: Length of the longer side at scale 1, in pixels; None keeps the image's own.
        size: Height and width at scale 1, in pixels, whatever the image's shape; instead of `long_side`.
        mirror: How an image's logits and its mirror's are merged: 'mean', 'sum' or 'max'.
        merge: How those of the scales are: 'max' or 'sum'.
        by_size: Sample scaled images at coordinates divided by the ratio of the rounded sizes, not by the factor.
        at_image_size: Resize logits to the image before they are merged, not to the grid of the scale nearest to 1.
        kwargs: Passed to mmengine's `BaseTTAModel`.

    Raises:
        ValueError: `scales` is empty or not positive, or `long_side` is not positive.
    """

    def __init__(
        self,
        module: Any,
        scales: Sequence[float] = (1.0, 0.5, 0.75),
        long_side: Optional[int] = 512,
        size: Optional[Sequence[int]] = None,
        mirror: str = 'mean',
        merge: str = 'max',
        by_size: bool = False,
        at_image_size: bool = False,
        **kwargs: Any,
    ) -> None:
        if not scales or min(scales) <= 0 or (long_side is not None and long_side <= 0):
            raise ValueError(
                f'tta_model: scales={tuple(scales)} must be one or more positive factors and long_side={long_side} '
                'a positive number of pixels, such as scales=(1.0, 0.5, 0.75), long_side=512'
            )
        if mirror not in MERGES or merge not in ('max', 'sum'):
            raise ValueError(f"tta_model: mirror='{mirror}' must be mean, sum or max, and merge='{merge}' max or sum")
        super().__init__(module=module, **kwargs)
        self.scales = sorted(scales, key=lambda scale: abs(scale - 1))
        self.long_side = long_side
        self.size = size
        self.mirror = MERGES[mirror]
        self.merge = MERGES[merge]
        self.scale = rescale_by_size if by_size else rescale
        self.at_image_size = at_image_size

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
        """Merge the logits of all scales on the grid of the scale nearest to 1, or at the image's size.

        Shape:
            image (B, 3, H, W), normalised; output (B, C, h, w).
        """
        target = image.shape[-2:] if self.at_image_size else None
        image = resize(image, self._base_size(*image.shape[-2:]))
        merged: Optional[Tensor] = None
        for scale in self.scales:
            scaled = self.scale(image, scale)
            logits = self.module(torch.cat([scaled, scaled.flip(-1)]))
            target = target or logits.shape[-2:]
            plain, mirrored = resize(logits, target).chunk(2)
            logits = self.mirror(plain, mirrored.flip(-1))
            merged = logits if merged is None else self.merge(merged, logits)
        assert merged is not None
        return merged

    def _base_size(self, height: int, width: int) -> Sequence[int]:
        """Height and width of an image at scale 1."""
        if self.size is not None:
            return self.size
        ratio = 1 if self.long_side is None else self.long_side / max(height, width)
        return max(int(height * ratio), 1), max(int(width * ratio), 1)

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


def rescale_by_size(image: Tensor, scale: float) -> Tensor:
    """Scale images bilinearly to the rounded size; shapes as those of `rescale`."""
    return resize(image, [max(int(side * scale), 1) for side in image.shape[-2:]])
