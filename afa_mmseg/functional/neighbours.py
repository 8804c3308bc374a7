"""Dilated neighbourhoods without unfolding: what the local refiners PAR and PAMR share."""

from collections.abc import Iterator, Sequence
from typing import Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

#: Rows of an image that are worked on together, so that the weights of their neighbours stay in the cache.
BLOCK_ROWS = 64
#: Below it a weight is nothing beside the largest one, and would be a denormal number, which CPUs are slow with.
MIN_LOGIT = -80.0

#: The 3x3 window row by row without its centre.
WINDOW = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


def neighbour_offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """List the (row, column) offsets of the 8 neighbours at each dilation, dilation by dilation.

    Raises:
        ValueError: `dilations` is empty or holds a number below 1.

    Example:
        >>> neighbour_offsets([2])[:3]
        [(-2, -2), (-2, 0), (-2, 2)]
    """
    if len(dilations) == 0 or min(dilations) < 1:
        raise ValueError(f'dilations must be one or more positive pixel distances, got {tuple(dilations)}')
    return [(dy * dilation, dx * dilation) for dilation in dilations for dy, dx in WINDOW]


def neighbour_views(x: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yield `x` as seen from each neighbour, borders clamped; views of one padded copy, not copies.

    Shape:
        x (B, C, H, W); each view (B, C, H, W).
    """
    offsets = neighbour_offsets(dilations)
    height, width = x.shape[-2:]
    margin = max(dilations)
    padded = F.pad(x, (margin,) * 4, mode='replicate')
    for dy, dx in offsets:
        yield padded[..., margin + dy : margin + dy + height, margin + dx : margin + dx + width]


def local_std(image: Tensor, dilations: Sequence[int], *, centre_taps: int = 0) -> Tensor:
    """Take the unbiased standard deviation of each channel over each pixel's neighbours.

    Args:
        image: Any real range.
        dilations: Neighbour distances in pixels.
        centre_taps: How many times the pixel itself counts as a sample.

    Shape:
        image (B, C, H, W); output (B, C, H, W).
    """
    count = len(WINDOW) * len(dilations) + centre_taps
    mean = image * centre_taps
    for view in neighbour_views(image, dilations):
        mean += view
    mean /= count
    square = centre_taps * (image - mean) ** 2
    for view in neighbour_views(image, dilations):
        difference = view - mean
        square.addcmul_(difference, difference)
    return (square / (count - 1)).sqrt()


def softmax_weights(
    image: Tensor,
    dilations: Sequence[int],
    scale: Tensor,
    distance: Callable[[Tensor], Tensor],
    prior: Optional[Tensor] = None,
) -> Tensor:
    """Weigh each pixel's neighbours by colour: softmax over minus the mean of the channels' scaled distances.

    Args:
        image: RGB.
        dilations: Neighbour distances in pixels.
        scale: What distances are multiplied by.
        distance: Turns colour differences into distances, in place: `Tensor.square_` or `Tensor.abs_`.
        prior: Weights that each pixel's neighbours have in any case, added to those of colour.

    Shape:
        image (B, 3, H, W); scale (B, 3, H, W); prior (1, K, 1, 1); output (B, K, H, W), K = 8 neighbours at each
        dilation. On a CPU the weights of a pixel lie side by side (`torch.channels_last`), as `diffuse` expects them.
    """
    batch, _, height, width = image.shape
    taps = len(WINDOW)
    layout = torch.channels_last if image.device.type == 'cpu' else torch.contiguous_format
    size = (batch, taps * len(dilations), height, width)
    weights = torch.empty(size, dtype=image.dtype, device=image.device, memory_format=layout)
    ring = image.new_empty(batch, taps, height, width)
    scales = (scale / -3).unbind(1)
    for k, view in enumerate(neighbour_views(image, dilations)):
        red, green, blue = distance(view - image).unbind(1)
        term = torch.mul(red, scales[0], out=ring[:, k % taps])
        term.addcmul_(green, scales[1]).addcmul_(blue, scales[2])
        if k % taps == taps - 1:  # by rings: a write for each neighbour would touch all of the memory each time
            weights[:, k - taps + 1 : k + 1] = ring
    for rows in weights.split(BLOCK_ROWS, dim=2):  # while they are in the cache
        rows.sub_(rows.amax(dim=1, keepdim=True)).clamp_(min=MIN_LOGIT).exp_()
        rows.div_(rows.sum(dim=1, keepdim=True))
        if prior is not None:
            rows.add_(prior)
    return weights


def resize_to_image(image: Tensor, cam: Tensor) -> tuple[Tensor, Tensor]:
    """Check a refiner's inputs, bring them to at least float32 and the CAM to the image's size.

    The resizing is bilinear with `align_corners=True`, as both published refiners do it.

    Shape:
        image (B, 3, H, W); cam (B, C, h, w); outputs (B, 3, H, W), (B, C, H, W).

    Raises:
        ValueError: the two are not batches of the same size, or the image is not RGB.
    """
    if image.ndim != 4 or cam.ndim != 4 or image.shape[0] != cam.shape[0] or image.shape[1] != 3:
        raise ValueError(
            f'image and cam must be (B, 3, H, W) and (B, C, h, w), got {tuple(image.shape)} and {tuple(cam.shape)}'
        )
    dtype = torch.promote_types(torch.promote_types(image.dtype, cam.dtype), torch.float32)
    image, cam = image.to(dtype), cam.to(dtype)
    if cam.shape[-2:] != image.shape[-2:]:
        cam = F.interpolate(cam, size=image.shape[-2:], mode='bilinear', align_corners=True)
    return image, cam
