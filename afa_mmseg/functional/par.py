"""Pixel-adaptive refinement (Ru et al., CVPR 2022)."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from .diffusion import diffuse
from .neighbours import local_std, neighbour_offsets, resize_to_image, softmax_weights

DILATIONS = (1, 2, 4, 8, 12, 24)
EPS = 1e-8


def par(
    image: Tensor,
    cam: Tensor,
    dilations: Sequence[int] = DILATIONS,
    num_iters: int = 10,
    *,
    bandwidth: float = 0.3,
    pos_weight: float = 0.01,
) -> Tensor:
    """Smooth CAMs along image edges: pixel-adaptive refinement (Ru et al., CVPR 2022).

    Each score becomes, `num_iters` times, a weighted sum of its 8 neighbours at every dilation. The kernel
    depends on the image only and is computed once; to refine several stacks of CAMs of the same images
    (low and high background, say) concatenate them along the channels.

    Args:
        image: RGB in any scale; colour differences are divided by the local standard deviation.
        cam: Class scores, any real range. Half precision is computed in float32.
        dilations: Neighbour distances in pixels.
        num_iters: Propagation steps.
        bandwidth: Kernel width, in local standard deviations.
        pos_weight: Weight of the distance kernel relative to the colour kernel.

    Shape:
        image (B, 3, H, W); cam (B, C, h, w), brought to (H, W) bilinearly; output (B, C, H, W) in cam's dtype.

    Raises:
        ValueError: shapes do not fit, or `dilations` is empty or not positive.

    Note:
        Kernel weights sum to 1 + pos_weight, so scores grow by that at every step. They are constants for the
        gradient, which reaches `cam` only.

    Example:
        >>> flat = torch.full((1, 2, 16, 16), 0.5)
        >>> out = par(torch.rand(1, 3, 16, 16), flat, dilations=(1, 2), num_iters=1)
        >>> bool(torch.isclose(out, torch.tensor(0.505)).all())
        True
    """
    dtype = cam.dtype
    image, cam = resize_to_image(image, cam)
    weights = par_kernel(image, dilations, bandwidth=bandwidth, pos_weight=pos_weight)
    return diffuse(cam, weights, dilations, num_iters).to(dtype)


@torch.no_grad()
def par_kernel(image: Tensor, dilations: Sequence[int], *, bandwidth: float, pos_weight: float) -> Tensor:
    """Weigh each pixel's neighbours by colour and distance; the weights of a pixel sum to 1 + pos_weight.

    Shape:
        image (B, 3, H, W); output (B, 8 * len(dilations), H, W).
    """
    scale = 1 / ((local_std(image, dilations) + EPS) * bandwidth)
    weights_on = _weights_on.__wrapped__ if torch.compiler.is_compiling() else _weights_on
    prior = pos_weight * weights_on(image.device, image.dtype, tuple(dilations), bandwidth)
    return softmax_weights(image, dilations, scale**2, Tensor.square_, prior)


@lru_cache(maxsize=8)  # copied to a GPU once: each copy would wait for it
def _weights_on(device: torch.device, dtype: torch.dtype, dilations: tuple[int, ...], bandwidth: float) -> Tensor:
    return distance_weights(dilations, bandwidth).to(device, dtype)


def distance_weights(dilations: Sequence[int], bandwidth: float) -> Tensor:
    """Weigh the neighbours by their distance alone; the weights sum to 1.

    Shape:
        output (1, 8 * len(dilations), 1, 1).
    """
    distance = torch.tensor([math.hypot(*offset) for offset in neighbour_offsets(dilations)])
    logits = -((distance / (distance.std() + EPS) / bandwidth) ** 2)
    return logits.softmax(dim=0).view(1, -1, 1, 1)
