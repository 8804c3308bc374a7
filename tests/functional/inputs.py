"""Random inputs of refiners and filters, and variants of type and layout that change no number.

The root fixture seeds them: each test draws the same.
"""

import torch
from torch.nn import functional as F


def smooth_image(batch, height, width):
    """Make images in 0..255 whose neighbouring pixels are alike, as in photographs."""
    return 255 * F.interpolate(torch.rand(batch, 3, 4, 4), (height, width), mode='bilinear')


def strided(x):
    """Copy a tensor into another memory layout."""
    x = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert not x.is_contiguous()
    return x


#: Changes of whole pixel values and of maps that half precision holds exactly.
VARIANTS = dict(
    half=lambda image, maps: (image.half(), maps.half()),
    bytes=lambda image, maps: (image.byte(), maps),
    strided=lambda image, maps: (strided(image), strided(maps)),
)


def relative_error(out, expected):
    """Compute the norm of the difference over that of the expected numbers."""
    return ((out - expected).norm() / expected.norm()).item()
