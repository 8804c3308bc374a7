"""Registered losses: weights over the functional ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import affinity_loss, balanced_cross_entropy, dense_energy_loss


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """Affinity loss with positive and negative pairs of equal weight; see `functional.affinity_loss`.

    Args:
        loss_weight: Factor on the loss.
        group_size: Images among which pairs are counted, see `mean_over_groups`; None for the whole batch.

    Raises:
        ValueError: `group_size` is not positive.
    """

    def __init__(self, loss_weight: float = 0.1, group_size: Optional[int] = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.group_size = _check_group_size(group_size)

    def forward(self, affinity: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
        """Compare affinity (B, hw, hw) with target (B, hw, hw); output scalar."""
        loss = partial(affinity_loss, ignore_index=ignore_index)
        return self.loss_weight * mean_over_groups(loss, self.group_size, affinity, target)


@MODELS.register_module()
class BalancedCrossEntropyLoss(nn.Module):
    """Cross-entropy with background and foreground of equal weight; see `functional.balanced_cross_entropy`.

    Args:
        loss_weight: Factor on the loss.
        loss_name: Its name in the log.
        group_size: Images among which pixels are counted, see `mean_over_groups`; None for the whole batch.

    Raises:
        ValueError: `group_size` is not positive.
    """

    def __init__(self, loss_weight: float = 0.1, loss_name: str = 'loss_seg', group_size: Optional[int] = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.group_size = _check_group_size(group_size)

    def forward(self, logits: Tensor, label: Tensor, ignore_index: int = 255, **kwargs: Any) -> Tensor:
        """Compare logits (B, C + 1, H, W) with label (B, H, W); output scalar."""
        loss = partial(balanced_cross_entropy, ignore_index=ignore_index)
        return self.loss_weight * mean_over_groups(loss, self.group_size, logits, label)


@MODELS.register_module()
class MultiLabelSoftMarginLoss(nn.Module):
    """Multi-label soft margin loss of image logits, `torch`'s own.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, gt_label: Tensor) -> Tensor:
        """Compare logits (B, C) with gt_label (B, C); output scalar."""
        return self.loss_weight * F.multilabel_soft_margin_loss(logits.float(), gt_label)


@MODELS.register_module()
class DenseEnergyLoss(nn.Module):
    """Regularised loss: label changes between similar colours cost energy; see `functional.dense_energy_loss`.

    Args:
        loss_weight: Factor on the loss, beside the published 1e-7 inside.
        sigma_rgb: Standard deviation over colours, in pixel values.
        sigma_xy: Standard deviation over positions, in pixels.
        scale_factor: The energy is computed at this scale.
    """

    def __init__(
        self,
        loss_weight: float = 0.01,
        sigma_rgb: float = 15.0,
        sigma_xy: float = 100.0,
        scale_factor: float = 0.5,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.settings = dict(sigma_rgb=sigma_rgb, sigma_xy=sigma_xy, scale_factor=scale_factor)

    def forward(
        self, logits: Tensor, image: Tensor, label: Tensor, boxes: Optional[Tensor] = None, ignore_index: int = 255
    ) -> Tensor:
        """Compare logits (B, C + 1, H, W) with image (B, 3, H, W) in 0..255, in boxes (B, 4); output scalar."""
        energy = dense_energy_loss(logits, image, label, boxes, ignore_index=ignore_index, **self.settings)
        return self.loss_weight * energy


def mean_over_groups(loss: Callable[..., Tensor], group_size: Optional[int], *maps: Tensor) -> Tensor:
    """Average a loss over groups of images, dealt out in turn as samplers deal images to processes.

    Balanced losses divide by what they count in their batch, so that the loss of four images is not the mean of
    two losses of two. In groups of as many images as a process of another run has, it is.

    Args:
        loss: Maps the tensors to a scalar.
        group_size: Images of a group at most; None for all of them.
        maps: Tensors with images in the first dimension.

    Example:
        >>> share = lambda x: x.sum() / x.count_nonzero()
        >>> x = torch.tensor([1.0, 2.0, 0.0, 6.0])
        >>> share(x).item(), mean_over_groups(share, 2, x).item()  # (1 + 0) / 1 and (2 + 6) / 2
        (3.0, 2.5)
    """
    count = 1 if group_size is None else -(-len(maps[0]) // group_size)
    return torch.stack([loss(*(x[i::count] for x in maps)) for i in range(count)]).mean()


def _check_group_size(size: Optional[int]) -> Optional[int]:
    if size is not None and size < 1:
        raise ValueError(f'group_size={size} must be a positive number of images, or None for the whole batch')
    return size
