"""Semantic affinity between the cells of a grid: masks, targets, random walk."""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

#: Added to each column's sum before dividing by it (Ru et al., CVPR 2022).
COLUMN_EPS = 0.1


def radius_mask(height: int, width: int, radius: int) -> Tensor:
    """Mark the pairs of grid cells at most `radius` rows and `radius` columns apart.

    Args:
        height: Rows of the grid.
        width: Columns of the grid.
        radius: Chebyshev distance in cells.

    Shape:
        output bool (hw, hw), symmetric, True on the diagonal.

    Example:
        >>> radius_mask(1, 3, 1).int().tolist()
        [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    """
    near_rows, near_columns = (
        (axis[:, None] - axis[None, :]).abs() <= radius for axis in (torch.arange(height), torch.arange(width))
    )
    pairs = near_rows[:, None, :, None] & near_columns[None, :, None, :]  # (h, w, h, w)
    return pairs.reshape(height * width, height * width)


def label_on_grid(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Subsample a label map to a grid: the nearest pixel up and left, (16i, 16j) at stride 16.

    Shape:
        label (B, H, W); output (B, *size).
    """
    return F.interpolate(label[:, None].float(), size=size, mode='nearest')[:, 0].to(label.dtype)


def affinity_label(label: Tensor, mask: Optional[Tensor] = None, ignore_index: int = 255) -> Tensor:
    """Mark each pair of cells: 1 same label, 0 different (Ru et al., CVPR 2022).

    Args:
        label: Class index of each cell, background 0 included.
        mask: Pairs to mark; all others are ignored.
        ignore_index: Label of undecided cells and of ignored pairs.

    Shape:
        label (B, h, w); mask bool (hw, hw); output int64 (B, hw, hw).

    Example:
        >>> affinity_label(torch.tensor([[[0, 0, 5]]]))[0].tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    label = label.flatten(1)  # (B, hw)
    target = (label[:, :, None] == label[:, None, :]).long()
    known = label != ignore_index
    valid = known[:, :, None] & known[:, None, :]
    if mask is not None:
        valid &= mask.bool()
    return target.masked_fill_(~valid, ignore_index)


def transition_matrix(affinity: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    """Turn affinities into the steps of a random walk: near pairs only, squared, columns normalised.

    Shape:
        affinity (B, hw, hw) in [0, 1]; mask bool (hw, hw); output (B, hw, hw).
    """
    affinity = affinity.float()
    if mask is not None:
        affinity = affinity * mask
    affinity = affinity**2
    return affinity / (affinity.sum(dim=1, keepdim=True) + COLUMN_EPS)


def add_background(cam: Tensor, gt_label: Tensor, bkg_score: float) -> Tensor:
    """Prepend a constant background channel and take the softmax over it and the present classes.

    Shape:
        cam (B, C, h, w); gt_label (B, C); output (B, C + 1, h, w), 0 for absent classes.
    """
    cam = F.pad(cam.float(), (0, 0, 0, 0, 1, 0), value=bkg_score)
    absent = F.pad(gt_label, (1, 0), value=1)[..., None, None] == 0  # (B, C + 1, 1, 1)
    return cam.masked_fill(absent, float('-inf')).softmax(dim=1)


def random_walk(cam: Tensor, transition: Tensor) -> Tensor:
    """Sum for every cell the scores of all cells, weighted by the transition matrix.

    Shape:
        cam (B, C, h, w); transition (B, hw, hw); output (B, C, h, w).
    """
    return (cam.flatten(2) @ transition).view_as(cam)


def propagate_cam(cam: Tensor, affinity: Tensor, mask: Optional[Tensor], gt_label: Tensor, bkg_score: float) -> Tensor:
    """Propagate CAMs by a random walk along affinities, with a background channel (Ru et al., CVPR 2022).

    Args:
        cam: Class scores in [0, 1].
        affinity: Between all cells, in [0, 1]; left as it is.
        mask: Pairs that may exchange scores; None for all.
        gt_label: Which classes the image holds, 1 or 0.
        bkg_score: Score of the background against which the classes compete.

    Shape:
        cam (B, C, h, w); affinity (B, hw, hw); mask bool (hw, hw); gt_label (B, C);
        output (B, C + 1, h, w), background first, 0 for classes that the image does not hold.

    Raises:
        ValueError: cam, affinity and gt_label have inconsistent shapes.
    """
    cells = cam.shape[-2] * cam.shape[-1]
    if affinity.shape != (len(cam), cells, cells) or gt_label.shape != cam.shape[:2]:
        raise ValueError(
            f'cam {tuple(cam.shape)} needs affinity {(len(cam), cells, cells)} and gt_label {tuple(cam.shape[:2])}, '
            f'got {tuple(affinity.shape)} and {tuple(gt_label.shape)}'
        )
    return random_walk(add_background(cam, gt_label, bkg_score), transition_matrix(affinity, mask))
