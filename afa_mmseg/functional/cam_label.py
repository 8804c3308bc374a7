"""Labels straight from CAMs, by two thresholds."""

from typing import Optional

import torch
from torch import Tensor

from .pseudo_label import inside_boxes


def cam_to_label(
    cam: Tensor,
    gt_label: Tensor,
    low: float,
    high: float,
    boxes: Optional[Tensor] = None,
    ignore_index: int = 255,
) -> Tensor:
    """Label each pixel by its highest CAM: that class above `high`, background up to `low`, ignored between.

    Args:
        cam: Foreground scores in [0, 1].
        gt_label: Which classes the image holds, 1 or 0; the others count as 0.
        low: Up to this score, itself included, a pixel is background.
        high: Above this score a pixel is of its class; equal to `low` where nothing is to be ignored.
        boxes: The part of each map that is labelled, as top, bottom, left, right (bottom and right excluded); the
            rest is ignored. None: all of it.
        ignore_index: Label of ignored pixels.

    Shape:
        cam (B, C, H, W); gt_label (B, C); boxes (B, 4); output int64 (B, H, W), background 0, classes from 1.

    Example:
        >>> cam = torch.tensor([[[[0.9, 0.1, 0.5]], [[0.2, 0.2, 0.2]]]])
        >>> cam_to_label(cam, torch.ones(1, 2), 0.25, 0.7).tolist()
        [[[1, 0, 255]]]
    """
    score, index = (cam * gt_label[..., None, None]).max(dim=1)
    label = torch.where(score > high, index + 1, ignore_index)
    label = label.masked_fill(score <= low, 0)
    if boxes is not None:
        label = label.masked_fill(
            ~inside_boxes(boxes.to(label.device, non_blocking=True), *label.shape[-2:]), ignore_index
        )
    return label
