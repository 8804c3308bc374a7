"""Refiners: what smooths CAMs along image edges, built from the registry."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import pamr, par
from ...functional.par import DILATIONS


@MODELS.register_module()
class PAR(nn.Module):
    """Pixel-adaptive refinement (Ru et al., CVPR 2022); see `functional.par`.

    Args:
        num_iters: Propagation steps: 10 for VOC, 15 for COCO.
        dilations: Neighbour distances in pixels.
        bandwidth: Kernel width, in local standard deviations.
        pos_weight: Weight of the distance kernel relative to the colour kernel.
    """

    def __init__(
        self,
        num_iters: int = 10,
        dilations: Sequence[int] = DILATIONS,
        bandwidth: float = 0.3,
        pos_weight: float = 0.01,
    ) -> None:
        super().__init__()
        self.num_iters = num_iters
        self.dilations = tuple(dilations)
        self.bandwidth = bandwidth
        self.pos_weight = pos_weight

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Refine cam (B, C, h, w) on image (B, 3, H, W); output (B, C, H, W)."""
        return par(image, cam, self.dilations, self.num_iters, bandwidth=self.bandwidth, pos_weight=self.pos_weight)

    def extra_repr(self) -> str:
        """Show the settings in `print(model)`."""
        return f'num_iters={self.num_iters}, dilations={self.dilations}'


@MODELS.register_module()
class PAMR(nn.Module):
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020); see `functional.pamr`.

    Args:
        num_iters: Propagation steps.
        dilations: Neighbour distances in pixels.
    """

    def __init__(self, num_iters: int = 10, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.num_iters = num_iters
        self.dilations = tuple(dilations)

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Refine cam (B, C, h, w) on image (B, 3, H, W); output (B, C, H, W)."""
        return pamr(image, cam, self.dilations, self.num_iters)

    def extra_repr(self) -> str:
        """Show the settings in `print(model)`."""
        return f'num_iters={self.num_iters}, dilations={self.dilations}'


class NoRefinement(nn.Module):
    """Only bring the CAM to the image's size: what `refiner=None` means."""

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Resize cam (B, C, h, w) to image (B, 3, H, W) as the refiners do; output (B, C, H, W)."""
        return F.interpolate(cam, size=image.shape[-2:], mode='bilinear', align_corners=True)
