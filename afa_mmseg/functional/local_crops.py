"""Uncertain regions of CAMs, and local crops that are drawn from them."""

from typing import Optional

import torch
from torch import Tensor

#: Values of a region map.
BACKGROUND, UNDECIDED, FOREGROUND = 0, 1, 2
#: Largest mean region value of a crop that counts as background.
NEGATIVE_MEAN = 0.2


def uncertain_regions(cam: Tensor, gt_label: Tensor, low: float, high: float) -> Tensor:
    """Divide pixels by their highest CAM of a present class: background, undecided, foreground (Ru et al., CVPR 2023).

    Args:
        cam: Foreground scores in [0, 1].
        gt_label: Which classes the image holds, 1 or 0.
        low: Up to this score, itself included, a pixel is background.
        high: From this score on, itself included, a pixel is foreground.

    Shape:
        cam (B, C, H, W); gt_label (B, C); output uint8 (B, H, W): 0 background, 1 undecided, 2 foreground.

    Example:
        >>> uncertain_regions(torch.tensor([[[[0.25, 0.5, 0.7]]]]), torch.ones(1, 1), 0.25, 0.7).tolist()
        [[[0, 1, 2]]]
    """
    score = (cam * gt_label[..., None, None]).amax(dim=1)
    return (score > low).to(torch.uint8) + ((score >= high) & (score > low)).to(torch.uint8)


def sample_local_crops(
    regions: Tensor, num_crops: int = 8, size: int = 96, generator: Optional[torch.Generator] = None
) -> Tensor:
    """Draw square crops whose centres are not foreground, uniformly and without replacement (Ru et al., CVPR 2023).

    In an image with fewer than `num_crops` such centres, any centre is drawn. All crops lie within the image.

    Args:
        regions: Output of `uncertain_regions`.
        num_crops: Crops of each image.
        size: Side of a crop in pixels.
        generator: Of random numbers, on the device of `regions`.

    Shape:
        regions (B, H, W); output int64 (B, num_crops, 2), the row and column of each crop's top left pixel.

    Raises:
        ValueError: The image has fewer than `num_crops` places for a crop.
    """
    margin = size // 2
    height, width = (side - 2 * margin for side in regions.shape[-2:])
    if min(height, width) < 1 or height * width < num_crops:
        raise ValueError(
            f'an image of {regions.shape[-2]} x {regions.shape[-1]} pixels has no room for num_crops={num_crops} '
            f'crops of size={size}: use a larger crop_size, or smaller or fewer local crops'
        )
    centres = regions[:, margin : margin + height, margin : margin + width].flatten(1)  # (B, places)
    allowed = centres <= UNDECIDED
    allowed |= allowed.sum(dim=1, keepdim=True) < num_crops
    keys = torch.rand(allowed.shape, device=regions.device, generator=generator)
    drawn = keys.masked_fill(~allowed, -1).topk(num_crops, dim=1).indices
    return torch.stack([drawn.div(width, rounding_mode='floor'), drawn % width], dim=-1)


def local_crop_flags(regions: Tensor, corners: Tensor, size: int = 96) -> Tensor:
    """Mark the crops that show more than background: their mean region value is above 0.2 (Ru et al., CVPR 2023).

    Shape:
        regions (B, H, W); corners (B, n, 2); output int64 (B, n): 0 negative, 1 positive.
    """
    values = cut_crops(regions[:, None], corners, size).float()
    return (values.mean(dim=(-3, -2, -1)) > NEGATIVE_MEAN).long()


def cut_crops(image: Tensor, corners: Tensor, size: int) -> Tensor:
    """Cut square crops out of images.

    Shape:
        image (B, C, H, W); corners (B, n, 2), rows and columns; output (B, n, C, size, size).
    """
    steps = torch.arange(size, device=image.device)
    rows, columns = (corners[..., axis, None] + steps for axis in (0, 1))  # (B, n, size)
    batch = torch.arange(len(image), device=image.device)[:, None, None, None]
    crops = image[batch, :, rows[..., :, None], columns[..., None, :]]  # (B, n, size, size, C)
    return crops.permute(0, 1, 4, 2, 3)
