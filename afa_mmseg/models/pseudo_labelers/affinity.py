"""The rule of AFA: CAMs propagated along a learned affinity."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import radius_mask
from ...functional.affinity import add_background, affinity_label, label_on_grid, random_walk, transition_matrix
from ...functional.cam import resize
from ...functional.near_walk import AffinityFactors, bands_pay, walk_by_bands
from ...functional.pseudo_label import ScoreStack
from .base import Affinity, CamOutput, PseudoLabeler

#: A training step has two grids: that of the crop, and that of the largest CAM scale.
MASKS_KEPT = 2


@MODELS.register_module()
class AffinityPseudoLabeler(PseudoLabeler):
    """Pseudo-labels from CAMs that a random walk has spread along the affinity of a grid (Ru et al., CVPR 2022).

    Args:
        radius: Largest distance, in cells of the grid, over which affinity is learned and used.
        kwargs: Settings of `PseudoLabeler`.

    Raises:
        ValueError: `radius` is negative, or see `PseudoLabeler`.
    """

    def __init__(self, radius: int = 8, **kwargs: Any) -> None:
        if radius < 0:
            raise ValueError(f'radius={radius} of AffinityPseudoLabeler must be 0 or more cells, such as 8')
        super().__init__(**kwargs)
        self.radius = radius
        self._masks: dict[tuple, Tensor] = {}

    def scores(self, output: CamOutput, gt_label: Tensor, bkg_scores: Sequence[float]) -> ScoreStack:
        """Return the propagated CAMs; see `PseudoLabeler.scores`."""
        return ScoreStack(self.propagate(output, gt_label, bkg_scores))

    @torch.no_grad()
    def propagate(self, output: CamOutput, gt_label: Tensor, bkg_scores: Sequence[float]) -> Tensor:
        """Spread CAMs along the affinity, once for each background score.

        Shape:
            output.cam (B, C, H, W); gt_label (B, C); result (B, len(bkg_scores) (C + 1), H, W), background first in
            each set of channels, absent classes 0.

        Raises:
            ValueError: `output` has no affinity.
        """
        cam, affinity, grid, _ = output
        if affinity is None:
            raise ValueError(
                'these CAMs have no affinity to propagate along: use a segmentor that learns one, such as AFA, or '
                "pseudo_labeler=dict(type='CamPseudoLabeler')"
            )
        on_grid = resize(cam * gt_label[..., None, None], grid)
        scores = torch.cat([add_background(on_grid, gt_label, score) for score in bkg_scores], dim=1)
        return resize(self._walk(scores, affinity), cam.shape[-2:])

    def affinity_target(self, label: Tensor, grid: tuple[int, int]) -> Tensor:
        """Mark the pairs of near cells that carry the same label.

        Shape:
            label (B, H, W); grid (h, w); output (B, hw, hw): 1 same, 0 different, or `ignore_index`.
        """
        mask = self.radius_mask(grid, label.device)
        return affinity_label(label_on_grid(label, grid), mask, self.ignore_index)

    def radius_mask(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        """Mark the pairs of grid cells within the radius, bool (hw, hw); the last `MASKS_KEPT` are cached."""
        key = grid, self.radius, device
        if key not in self._masks:
            kept = list(self._masks.items())[1 - MASKS_KEPT :]
            with device:  # made there, not copied
                self._masks = {**dict(kept), key: radius_mask(*grid, self.radius)}
        return self._masks[key]

    def _walk(self, scores: Tensor, affinity: Affinity) -> Tensor:
        """Spread scores (B, C, h, w) over near cells, by bands of near pairs or by the matrix of all pairs."""
        height, width = scores.shape[-2:]
        if isinstance(affinity, AffinityFactors):
            affinity = affinity.float()
            if bands_pay((height, width), self.radius, scores.device):
                return walk_by_bands(scores, affinity, self.radius)
            affinity = affinity.dense()
        return random_walk(scores, transition_matrix(affinity, self.radius_mask((height, width), scores.device)))
