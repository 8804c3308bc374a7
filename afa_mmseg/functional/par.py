"""Pixel-adaptive refinement (Ru et al., CVPR 2022)."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from . import par_triton
from .diffusion import diffuse
from .neighbours import local_std, neighbour_offsets, resize_to_image, softmax_weights

DILATIONS = (1, 2, 4, 8, 12, 24)
EPS = 1e-8
IMPLEMENTATIONS = ('auto', 'eager', 'triton')


def par(
    image: Tensor,
    cam: Tensor,
    dilations: Sequence[int] = DILATIONS,
    num_iters: int = 10,
    *,
    bandwidth: float = 0.3,
    pos_weight: float = 0.01,
    implementation: str = 'auto',
) -> Tensor:
    """Smooth CAMs along image edges: pixel-adaptive refinement (Ru et al., CVPR 2022).

    Each score becomes, `num_iters` times, a weighted sum of its 8 neighbours at every dilation. The kernel depends on
    the image only: to refine several stacks of CAMs of the same images, concatenate them along the channels.
    Kernel weights sum to 1 + pos_weight, so scores grow by that at every step; gradients reach `cam` only.

    Args:
        image: RGB in any scale; colour differences are divided by the local standard deviation.
        cam: Class scores, any real range. Half precision is computed in float32.
        dilations: Neighbour distances in pixels.
        num_iters: Propagation steps.
        bandwidth: Kernel width, in local standard deviations.
        pos_weight: Weight of the distance kernel relative to the colour kernel.
        implementation: 'eager' runs anywhere; 'triton' needs a GPU, float32 and no gradients; 'auto' uses it there.

    Shape:
        image (B, 3, H, W); cam (B, C, h, w), brought to (H, W) bilinearly; output (B, C, H, W) in cam's dtype.

    Raises:
        ValueError: shapes, `dilations` or `implementation` are invalid, or Triton cannot process these tensors.
    """
    dtype = cam.dtype
    image, cam = resize_to_image(image, cam)
    if _use_triton(implementation, image, cam):
        prior = _prior(image, dilations, bandwidth, pos_weight)
        weights = par_triton.weigh(image, dilations, bandwidth=bandwidth, prior=prior)
        return par_triton.diffuse(cam, weights, dilations, num_iters).to(dtype)
    weights = par_kernel(image, dilations, bandwidth=bandwidth, pos_weight=pos_weight)
    return diffuse(cam, weights, dilations, num_iters).to(dtype)


def check_implementation(implementation: str) -> None:
    """Raise `ValueError` for an unknown name of an implementation."""
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"implementation='{implementation}' of PAR is unknown: use one of {IMPLEMENTATIONS}")


def _use_triton(implementation: str, image: Tensor, cam: Tensor) -> bool:
    """Return whether the Triton kernels process these inputs; raise `ValueError` if they must and cannot."""
    check_implementation(implementation)
    needs_grad = torch.is_grad_enabled() and cam.requires_grad
    fits = image.dtype == torch.float32 and not needs_grad
    if implementation != 'triton':
        # Inside torch.compile the eager operations are what the compiler fuses.
        auto = implementation == 'auto' and fits and not torch.compiler.is_compiling()
        return auto and par_triton.works_on(image.device)
    if not fits or not par_triton.is_available():
        raise ValueError(
            f"implementation='triton' of PAR needs the package triton and float32 without gradients, got {image.dtype} "
            f"and requires_grad={needs_grad}: use implementation='auto', which falls back to eager"
        )
    return True


@torch.no_grad()
def par_kernel(image: Tensor, dilations: Sequence[int], *, bandwidth: float, pos_weight: float) -> Tensor:
    """Weigh each pixel's neighbours by colour and distance; the weights of a pixel sum to 1 + pos_weight.

    Shape:
        image (B, 3, H, W); output (B, 8 * len(dilations), H, W).
    """
    scale = 1 / ((local_std(image, dilations) + EPS) * bandwidth)
    prior = _prior(image, dilations, bandwidth, pos_weight)
    return softmax_weights(image, dilations, scale**2, Tensor.square_, prior)


def _prior(image: Tensor, dilations: Sequence[int], bandwidth: float, pos_weight: float) -> Tensor:
    """Weigh the neighbours by distance; (1, K, 1, 1) with sum pos_weight."""
    weights_on = _weights_on.__wrapped__ if torch.compiler.is_compiling() else _weights_on
    return pos_weight * weights_on(image.device, image.dtype, tuple(dilations), bandwidth)


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
