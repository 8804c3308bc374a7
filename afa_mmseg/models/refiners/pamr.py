"""Pixel-adaptive mask refinement as a module."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor

from ...functional import pamr
from ...functional.par import DILATIONS
from .base import Refiner, check_num_iters


@MODELS.register_module()
class PAMR(Refiner):
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020); see `functional.pamr`.

    Args:
        num_iters: Propagation steps.
        dilations: Neighbour distances in pixels.

    Raises:
        ValueError: `num_iters` is negative.
    """

    def __init__(self, num_iters: int = 10, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.num_iters = check_num_iters(num_iters)
        self.dilations = tuple(dilations)

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Refine cam (B, C, h, w) on image (B, 3, H, W); output (B, C, H, W)."""
        return pamr(image, cam, self.dilations, self.num_iters)
