"""Class activation maps (CAMs) over scales and mirror images."""

from collections.abc import Sequence
from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

#: Images (B, 3, H, W) and a number n -> CAM logits (B, C, h, w), and the affinity (n, hw, hw) of the first n images
#: on the same grid, which for n = 0 is not used, or None where there is no affinity.
Extract = Callable[[Tensor, int], tuple[Tensor, Any]]

EPS = 1e-5


def normalize_cam(cam: Tensor) -> Tensor:
    """Stretch each class's map of each image to [0, 1] by its spatial minimum and maximum.

    A map that is flat becomes 0.

    Shape:
        cam (B, C, H, W); output the same.

    Example:
        >>> normalize_cam(torch.tensor([[[[1.0, 3.0], [2.0, 1.0]]]])).round(decimals=3).flatten().tolist()
        [0.0, 1.0, 0.5, 0.0]
    """
    cam = cam - cam.amin(dim=(-2, -1), keepdim=True)
    return cam / (cam.amax(dim=(-2, -1), keepdim=True) + EPS)


def multi_scale_cam(
    extract: Extract,
    image: Tensor,
    scales: Sequence[float] = (1.0, 0.5, 1.5),
    base: Optional[tuple[Tensor, Any]] = None,
) -> tuple[Tensor, Any]:
    """Sum CAMs over scales, each the maximum of the image's own and its mirror's (Ru et al., CVPR 2022).

    An image and its mirror image go through `extract` in one batch; affinity is requested of the largest scale only.

    Args:
        extract: Computes CAM logits and, or None for, affinity of images of any size.
        image: Input of `extract`, normally normalised RGB.
        scales: Factors on height and width; 1 must be among them.
        base: `extract(image, B)`, if computed already: saves that pass.

    Shape:
        image (B, 3, H, W); output CAM (B, C, H, W) in [0, 1] and the affinity (B, hw, hw) of the largest
        scale, unmirrored, or None.

    Raises:
        ValueError: `scales` lacks 1.0 or holds a number that is not positive.
    """
    check_scales(scales)
    height, width = image.shape[-2:]
    total, affinity = None, None
    for scale in scales:
        scaled = resize(image, (int(scale * height), int(scale * width)))
        wanted = len(image) if scale == max(scales) else 0
        plain, mirrored, scale_affinity = _extract_with_mirror(extract, scaled, wanted, base if scale == 1 else None)
        plain, mirrored = (resize(cam, (height, width)) for cam in (plain, mirrored))
        cam = torch.maximum(plain, mirrored.flip(-1)).relu()
        total = cam if total is None else total + cam
        if wanted:
            affinity = scale_affinity
    assert total is not None
    return normalize_cam(total), affinity


def check_scales(scales: Sequence[float]) -> None:
    """Raise ValueError unless `scales` are valid CAM scales."""
    if 1.0 not in scales or min(scales) <= 0:
        raise ValueError(
            f'cam_scales={tuple(scales)} must be positive and include 1.0, whose features training shares. '
            'Add 1.0, for example cam_scales=(1.0, 0.5, 1.5); for a single scale use (1.0,).'
        )


def _extract_with_mirror(
    extract: Extract, image: Tensor, wanted: int, base: Optional[tuple[Tensor, Any]]
) -> tuple[Tensor, Tensor, Any]:
    """Return the CAM logits of the image, those of its mirror, and the affinity of the image, if wanted."""
    if base is not None:
        return base[0], extract(image.flip(-1), 0)[0], base[1]
    cam, affinity = extract(torch.cat([image, image.flip(-1)]), wanted)
    plain, mirrored = cam.chunk(2)
    return plain, mirrored, affinity


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps bilinearly (`align_corners=False`); (B, C, h, w) -> (B, C, *size)."""
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=False)
