"""From CAMs and affinity to pseudo-labels, with the settings that a config gives."""

from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import radius_mask
from ...functional.affinity import add_background, affinity_label, label_on_grid, random_walk, transition_matrix
from ...functional.cam import check_scales, resize
from ...functional.near_walk import AffinityFactors, bands_pay, walk_by_bands
from ...functional.pseudo_label import (
    BACKGROUND_SCORES,
    label_from_cam,
    label_from_propagated_cam,
    labels_from_both,
    refine_in_boxes,
)
from ..refiners import NoRefinement

#: Of all pairs of cells, or the factors it is made from.
Affinity = Union[Tensor, AffinityFactors]
#: A training step has two grids: that of the crop, and that of the largest CAM scale.
MASKS_KEPT = 2


class PseudoLabeler(nn.Module):
    """Makes the labels that segmentation and affinity learn from (Ru et al., CVPR 2022).

    Args:
        refiner: Config of a registered refiner; None leaves refinement out.
        cam_scales: Image scales that CAMs are summed over; 1 must be among them.
        radius: Largest distance, in cells of the grid, over which affinity is learned and used.
        bkg_scores: Background score of the low and the high label map; pixels between are ignored.
        ignore_index: Label of ignored pixels and pairs.

    Raises:
        ValueError: `cam_scales` lacks 1.0, `radius` is negative or `bkg_scores` are not two ascending scores.
    """

    def __init__(
        self,
        refiner: Optional[dict] = None,
        cam_scales: Sequence[float] = (1.0, 0.5, 1.5),
        radius: int = 8,
        bkg_scores: tuple[float, float] = BACKGROUND_SCORES,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        check_scales(cam_scales)
        if radius < 0 or len(bkg_scores) != 2 or not 0 < bkg_scores[0] <= bkg_scores[1] < 1:
            raise ValueError(
                f'radius={radius} must not be negative and bkg_scores={tuple(bkg_scores)} must be a low and a high '
                'score between 0 and 1, such as (0.35, 0.55)'
            )
        self.refiner = MODELS.build(refiner) if refiner is not None else NoRefinement()
        self.cam_scales = tuple(cam_scales)
        self.radius = radius
        low, high = bkg_scores
        self.bkg_scores = (low, high)
        self.ignore_index = ignore_index
        self._masks: dict[tuple, Tensor] = {}

    def radius_mask(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        """Mark the pairs of grid cells within the radius, bool (hw, hw); the last `MASKS_KEPT` are kept."""
        key = grid, self.radius, device
        if key not in self._masks:
            kept = list(self._masks.items())[1 - MASKS_KEPT :]
            with device:  # made there, not copied
                self._masks = {**dict(kept), key: radius_mask(*grid, self.radius)}
        return self._masks[key]

    def from_cam(self, image: Tensor, cam: Tensor, gt_label: Tensor, boxes: Tensor) -> Tensor:
        """Label from plain CAMs.

        Shape:
            image (B, 3, H, W) in 0..1; cam (B, C, H, W); gt_label (B, C); boxes (B, 4); output (B, H, W).
        """
        return label_from_cam(self.refiner, image, cam, gt_label, boxes, self.bkg_scores, self.ignore_index)

    def from_propagated_cam(
        self, image: Tensor, cam: Tensor, affinity: Affinity, grid: tuple[int, int], gt_label: Tensor, boxes: Tensor
    ) -> Tensor:
        """Label from CAMs spread along the affinity of a grid.

        Shape:
            image (B, 3, H, W) in 0..1; cam (B, C, H, W); affinity (B, hw, hw) or its factors; grid (h, w);
            gt_label (B, C); boxes (B, 4); output (B, H, W).
        """
        low, high = self.propagate(cam, affinity, grid, gt_label, self.bkg_scores)
        return label_from_propagated_cam(self.refiner, image, low, high, boxes, self.ignore_index)

    def from_both(
        self, image: Tensor, cam: Tensor, affinity: Affinity, grid: tuple[int, int], gt_label: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Label from CAMs spread along the affinity of a grid, and from plain ones.

        Shape:
            inputs as those of `from_propagated_cam`; outputs (B, H, W).
        """
        low, high = self.propagate(cam, affinity, grid, gt_label, self.bkg_scores)
        return labels_from_both(
            self.refiner, image, cam, low, high, gt_label, boxes, self.bkg_scores, self.ignore_index
        )

    @torch.no_grad()
    def propagate(
        self,
        cam: Tensor,
        affinity: Affinity,
        grid: tuple[int, int],
        gt_label: Tensor,
        bkg_scores: Sequence[float],
    ) -> list[Tensor]:
        """Spread CAMs along the affinity of a grid, once for each background score.

        Shape:
            cam (B, C, H, W); affinity (B, hw, hw) or its factors; grid (h, w); gt_label (B, C);
            outputs (B, C + 1, H, W), background first, absent classes 0.
        """
        on_grid = resize(cam * gt_label[..., None, None], grid)
        scores = torch.cat([add_background(on_grid, gt_label, score) for score in bkg_scores], dim=1)
        return list(resize(self._walk(scores, affinity), cam.shape[-2:]).chunk(len(bkg_scores), dim=1))

    def _walk(self, scores: Tensor, affinity: Affinity) -> Tensor:
        """Spread scores (B, C, h, w) over near cells, by bands of near pairs or by the matrix of all of them."""
        height, width = scores.shape[-2:]
        if isinstance(affinity, AffinityFactors):
            affinity = affinity.float()
            if bands_pay((height, width), self.radius, scores.device):
                return walk_by_bands(scores, affinity, self.radius)
            affinity = affinity.dense()
        return random_walk(scores, transition_matrix(affinity, self.radius_mask((height, width), scores.device)))

    def refine(self, image: Tensor, cam: Tensor) -> Tensor:
        """Refine CAMs with background on whole images at half size.

        Shape:
            image (B, 3, H, W) in 0..1; cam (B, C + 1, H, W); output (B, C + 1, H, W).
        """
        return refine_in_boxes(self.refiner, image, cam)

    def affinity_target(self, label: Tensor, grid: tuple[int, int]) -> Tensor:
        """Say of each pair of near cells whether they carry the same label.

        Shape:
            label (B, H, W); grid (h, w); output (B, hw, hw) of 1, 0 and `ignore_index`.
        """
        mask = self.radius_mask(grid, label.device)
        return affinity_label(label_on_grid(label, grid), mask, self.ignore_index)
