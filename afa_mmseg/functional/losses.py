"""Losses on affinities and label maps that stay finite whatever is missing."""

import torch
import torch.nn.functional as F
from torch import Tensor


def affinity_loss(affinity: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Push affinities of same-label pairs to 1, of others to 0, both halves of equal weight (Ru et al., CVPR 2022).

    Pairs are counted over the whole batch, one added to each count: without any pair the loss is 0.

    Args:
        affinity: In [0, 1].
        target: 1 same label, 0 different.
        ignore_index: Target of pairs to leave out.

    Shape:
        affinity (B, hw, hw); target (B, hw, hw); output scalar.

    Example:
        >>> affinity_loss(torch.tensor([[[0.9, 0.2]]]), torch.tensor([[[1, 0]]])).item()  # doctest: +ELLIPSIS
        0.07500...
    """
    affinity = affinity.float()
    positive, negative = (target == 1), (target == 0)
    pull = ((1 - affinity) * positive).sum() / (positive.sum() + 1)
    push = (affinity * negative).sum() / (negative.sum() + 1)
    return 0.5 * pull + 0.5 * push


def balanced_cross_entropy(logits: Tensor, label: Tensor, ignore_index: int = 255) -> Tensor:
    """Average the cross-entropy over background and over foreground pixels with equal weight (Ru et al., CVPR 2022).

    A side without pixels counts as 0 (the reference returns NaN there).

    Args:
        logits: Class scores before softmax, background first.
        label: Class indices, 0 the background.
        ignore_index: Label of pixels to leave out.

    Shape:
        logits (B, C + 1, H, W); label (B, H, W); output scalar.

    Raises:
        ValueError: the two are not maps of the same pixels.
    """
    if logits.shape[:1] + logits.shape[2:] != label.shape:
        raise ValueError(f'logits (B, C, H, W) and label (B, H, W) differ: {tuple(logits.shape)}, {tuple(label.shape)}')
    loss = F.cross_entropy(logits.float(), label.long(), ignore_index=ignore_index, reduction='none')
    background = label == 0
    foreground = ~background & (label != ignore_index)
    return 0.5 * _masked_mean(loss, background) + 0.5 * _masked_mean(loss, foreground)


def _masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, 0).sum() / mask.sum().clamp(min=1)
