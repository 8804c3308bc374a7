"""Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020), the ancestor of PAR."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .diffusion import diffuse
from .neighbours import local_std, resize_to_image, softmax_weights
from .par import DILATIONS, EPS

BANDWIDTH = 0.1


def pamr(image: Tensor, cam: Tensor, dilations: Sequence[int] = DILATIONS, num_iters: int = 10) -> Tensor:
    """Smooth CAMs along image edges: pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020).

    The refiner that PAR descends from, for the ablation: absolute instead of squared colour differences,
    no distance term, and the pixel itself among the samples of the local standard deviation.

    Args:
        image: RGB in any scale; colour differences are divided by the local standard deviation.
        cam: Class scores, any real range. Half precision is computed in float32.
        dilations: Neighbour distances in pixels.
        num_iters: Propagation steps.

    Shape:
        image (B, 3, H, W); cam (B, C, h, w), brought to (H, W) bilinearly; output (B, C, H, W) in cam's dtype.

    Raises:
        ValueError: shapes do not fit, or `dilations` is empty or not positive.

    Note:
        Kernel weights sum to 1: a flat CAM stays as it is. They are constants for the gradient.
    """
    dtype = cam.dtype
    image, cam = resize_to_image(image, cam)
    return diffuse(cam, pamr_kernel(image, dilations), dilations, num_iters).to(dtype)


@torch.no_grad()
def pamr_kernel(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Weigh each pixel's neighbours by colour; the weights of a pixel sum to 1.

    Shape:
        image (B, 3, H, W); output (B, 8 * len(dilations), H, W).
    """
    # The published window has nine taps at each dilation, the centre being one of them.
    scale = 1 / (EPS + BANDWIDTH * local_std(image, dilations, centre_taps=len(dilations)))
    return softmax_weights(image, dilations, scale, Tensor.abs_)
