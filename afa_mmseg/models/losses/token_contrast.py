"""Registered losses of token contrast: weights over the functional ones."""

from functools import partial
from typing import Optional

from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import class_token_contrast, patch_token_contrast
from .losses import _check_group_size, mean_over_groups


@MODELS.register_module()
class PatchTokenContrastLoss(nn.Module):
    """Contrast between the patch tokens of each image; see `functional.patch_token_contrast`.

    Args:
        loss_weight: Factor on the loss.
        group_size: Images among which pairs are counted, see `mean_over_groups`; None for the whole batch.

    Raises:
        ValueError: `group_size` is not positive.
    """

    def __init__(self, loss_weight: float = 0.2, group_size: Optional[int] = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.group_size = _check_group_size(group_size)

    def forward(self, features: Tensor, label: Tensor, ignore_index: int = 255) -> Tensor:
        """Compare features (B, D, h, w) by their label (B, h, w); output scalar."""
        loss = partial(patch_token_contrast, ignore_index=ignore_index)
        return self.loss_weight * mean_over_groups(loss, self.group_size, features, label)


@MODELS.register_module()
class ClassTokenContrastLoss(nn.Module):
    """Contrast between the class tokens of the views of each image; see `functional.class_token_contrast`.

    Args:
        loss_weight: Factor on the loss.
        temperature: Divisor of the tokens' dot products.

    Raises:
        ValueError: `temperature` is not positive.
    """

    def __init__(self, loss_weight: float = 0.5, temperature: float = 0.5) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature={temperature} of ClassTokenContrastLoss must be above 0, such as 0.5')
        self.loss_weight = loss_weight
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, flags: Tensor) -> Tensor:
        """Compare student (K B, D) with teacher (G B, D) tokens, view by view, by flags (B, K); output scalar."""
        return self.loss_weight * class_token_contrast(student, teacher, flags, self.temperature)
