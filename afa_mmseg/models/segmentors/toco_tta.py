"""Multi-scale, mirrored testing as ToCo was published with."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Optional

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional.cam import resize
from .tta import MaxScaleTTAModel

#: How two maps of logits become one.
MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {'sum': torch.add, 'max': torch.maximum}


@MODELS.register_module()
class ToCoTTAModel(MaxScaleTTAModel):
    """Merge each scale's logits with those of its mirror image, then those of all scales, at the image's size.

    The defaults are those of ToCo on VOC (Ru et al., CVPR 2023). Unlike in `MaxScaleTTAModel`, images are sampled by
    the ratio of the rounded sizes.

    Args:
        module: The segmentor, or its config; any of mmseg's will do.
        scales: Factors on both sides.
        size: Height and width at scale 1, in pixels, whatever the image's shape; None for the image's own.
        mirror: How an image's logits and its mirror's are merged: 'sum' or 'max'.
        over_scales: How those of the scales are: 'sum' or 'max'.
        kwargs: Passed to mmengine's `BaseTTAModel`.

    Raises:
        ValueError: `scales` is empty or not positive, or `mirror` or `over_scales` is unknown.
    """

    def __init__(
        self,
        module: Any,
        scales: Sequence[float] = (1.0, 1.5, 1.25),
        size: Optional[Sequence[int]] = None,
        mirror: str = 'sum',
        over_scales: str = 'max',
        **kwargs: Any,
    ) -> None:
        if mirror not in MERGES or over_scales not in MERGES:
            raise ValueError(f"tta_model: mirror='{mirror}' and over_scales='{over_scales}' must be 'sum' or 'max'")
        super().__init__(module, scales, long_side=None, **kwargs)
        self.size = size
        self.mirror, self.over_scales = MERGES[mirror], MERGES[over_scales]

    def merged_logits(self, image: Tensor) -> Tensor:
        """Merge the logits of all scales.

        Shape:
            image (B, 3, H, W), normalised; output (B, C, H, W).
        """
        base = image if self.size is None else resize(image, self.size)
        logits = (self._mirrored_logits(base, scale, image.shape[-2:]) for scale in self.scales)
        return reduce(self.over_scales, logits)

    def _mirrored_logits(self, base: Tensor, scale: float, size: Sequence[int]) -> Tensor:
        scaled = resize(base, [max(int(side * scale), 1) for side in base.shape[-2:]])
        plain, mirrored = resize(self.module(torch.cat([scaled, scaled.flip(-1)])), size).chunk(2)
        return self.mirror(plain, mirrored.flip(-1))
