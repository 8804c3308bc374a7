"""Pixel-adaptive refinement as a module."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor

from ...functional import par
from ...functional.par import DILATIONS, check_implementation
from .base import Refiner, check_num_iters


@MODELS.register_module()
class PAR(Refiner):
    """Pixel-adaptive refinement (Ru et al., CVPR 2022); see `functional.par`.

    Args:
        num_iters: Propagation steps: 10 for VOC, 15 for COCO.
        dilations: Neighbour distances in pixels.
        bandwidth: Kernel width, in local standard deviations.
        pos_weight: Weight of the distance kernel relative to the colour kernel.
        implementation: 'auto', 'eager' or 'triton'; see `functional.par`.

    Raises:
        ValueError: `implementation` is unknown.
    """

    def __init__(
        self,
        num_iters: int = 10,
        dilations: Sequence[int] = DILATIONS,
        bandwidth: float = 0.3,
        pos_weight: float = 0.01,
        implementation: str = 'auto',
    ) -> None:
        super().__init__()
        check_implementation(implementation)
        self.num_iters = check_num_iters(num_iters)
        self.dilations = tuple(dilations)
        self.bandwidth = bandwidth
        self.pos_weight = pos_weight
        self.implementation = implementation

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Refine cam (B, C, h, w) on image (B, 3, H, W); output (B, C, H, W)."""
        return par(
            image,
            cam,
            self.dilations,
            self.num_iters,
            bandwidth=self.bandwidth,
            pos_weight=self.pos_weight,
            implementation=self.implementation,
        )
