"""The contract of pseudo-label rules, and the rule from plain CAMs."""

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional.cam import check_scales
from ...functional.near_walk import AffinityFactors
from ...functional.pseudo_label import (
    BACKGROUND_SCORES,
    ClassPacking,
    ScoreStack,
    cam_scores,
    refine_and_fuse,
    refine_in_boxes,
)
from ..refiners import NoRefinement

#: Of all pairs of cells, or the factors it is made from.
Affinity = Union[Tensor, AffinityFactors]


class CamOutput(NamedTuple):
    """CAMs of a batch, with the affinity to propagate them along where the method has one.

    Args:
        cam: CAMs in [0, 1].
        affinity: Between all cells of the grid, or None.
        grid: Rows and columns of the feature map that the affinity belongs to.
        aux_cam: CAMs of a second classifier, or None; predictions carry them as `pred_aux_cam`.

    Shape:
        cam, aux_cam (B, C, H, W); affinity (B, hw, hw) or its factors; grid (h, w).
    """

    cam: Tensor
    affinity: Optional[Affinity]
    grid: tuple[int, int]
    aux_cam: Optional[Tensor] = None

    def pack(self, classes: ClassPacking) -> 'CamOutput':
        """Keep the CAMs of present classes; (B, C, H, W) to (B, K, H, W)."""
        aux_cam = None if self.aux_cam is None else classes.pack(self.aux_cam)
        return self._replace(cam=classes.pack(self.cam), aux_cam=aux_cam)

    def select(self, i: int) -> 'CamOutput':
        """Keep one image of the batch."""
        one = slice(i, i + 1)
        return CamOutput(
            self.cam[one],
            None if self.affinity is None else self.affinity[one],
            self.grid,
            None if self.aux_cam is None else self.aux_cam[one],
        )


class PseudoLabeler(nn.Module):
    """Base class of pseudo-label rules.

    A rule implements `scores`: what the CAMs become before refinement; `plain_scores` is the same for the label from
    plain CAMs. Refinement and the fusion of a low and a high background score, which leaves pixels between them
    undecided, are the same for all (`functional.refine_and_fuse`).

    In training and in pseudo-labels C counts the classes that images hold, in their order (`ClassPacking`), not those
    of the data set.

    Args:
        refiner: Config of a registered refiner; None leaves refinement out.
        cam_scales: Image scales that CAMs are summed over; 1 must be among them.
        bkg_scores: Background score of the low and the high label map; pixels between are ignored.
        ignore_index: Label of ignored pixels.

    Raises:
        ValueError: `cam_scales` lacks 1.0, or `bkg_scores` are not two ascending scores between 0 and 1.
    """

    def __init__(
        self,
        refiner: Optional[dict] = None,
        cam_scales: Sequence[float] = (1.0, 0.5, 1.5),
        bkg_scores: tuple[float, float] = BACKGROUND_SCORES,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        check_scales(cam_scales)
        if len(bkg_scores) != 2 or not 0 < bkg_scores[0] <= bkg_scores[1] < 1:
            raise ValueError(
                f'bkg_scores={tuple(bkg_scores)} of {type(self).__name__} must be a low and a high score between 0 '
                'and 1, such as (0.35, 0.55)'
            )
        self.refiner = MODELS.build(refiner) if refiner is not None else NoRefinement()
        self.cam_scales = tuple(cam_scales)
        low, high = bkg_scores
        self.bkg_scores = (low, high)
        self.ignore_index = ignore_index

    def scores(self, output: CamOutput, gt_label: Tensor, bkg_scores: Sequence[float]) -> ScoreStack:
        """Return class scores with background, one set of channels for each background score, before refinement.

        Shape:
            output.cam (B, C, H, W); gt_label (B, C); output scores (B, len(bkg_scores) (C + 1), h, w), absent
            classes 0.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement scores(output, gt_label, bkg_scores)')

    def plain_scores(self, output: CamOutput, gt_label: Tensor, bkg_scores: Sequence[float]) -> ScoreStack:
        """Return the scores of plain CAMs with background, at half size; shapes as in `scores`."""
        return cam_scores(output.cam, gt_label, bkg_scores)

    def propagate(self, output: CamOutput, gt_label: Tensor, bkg_scores: Sequence[float]) -> Tensor:
        """Raise a `ValueError`: only rules with an affinity propagate; see `AffinityPseudoLabeler`."""
        raise ValueError(
            f'{type(self).__name__} does not propagate CAMs along the affinity that this method has: use '
            "pseudo_labeler=dict(type='AffinityPseudoLabeler') or a subclass of it"
        )

    def label(self, image: Tensor, output: CamOutput, gt_label: Tensor, boxes: Tensor) -> Tensor:
        """Return the label that segmentation learns from.

        Shape:
            image (B, 3, H, W) in 0..1; output.cam (B, C, H, W); gt_label (B, C); boxes (B, 4); result (B, H, W).
        """
        return self._fuse(image, [self.scores(output, gt_label, self.bkg_scores)], boxes)[0]

    def cam_label(self, image: Tensor, output: CamOutput, gt_label: Tensor, boxes: Tensor) -> Tensor:
        """Return the label from plain CAMs; shapes as in `label`."""
        return self._fuse(image, [self.plain_scores(output, gt_label, self.bkg_scores)], boxes)[0]

    def label_and_cam_label(
        self, image: Tensor, output: CamOutput, gt_label: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return `label` and `cam_label`, refined in one call where possible."""
        stacks = [scores(output, gt_label, self.bkg_scores) for scores in (self.scores, self.plain_scores)]
        label, cam_label = self._fuse(image, stacks, boxes)
        return label, cam_label

    def refined(
        self,
        image: Tensor,
        output: CamOutput,
        gt_label: Tensor,
        bkg_score: float,
        boxes: Optional[Tensor] = None,
    ) -> Tensor:
        """Return the refined scores against one background score, on whole images, or 0 outside of boxes.

        Shape:
            image (B, 3, H, W) in 0..1; output.cam (B, C, H, W); gt_label (B, C); result (B, C + 1, H, W).
        """
        stack = self.scores(output, gt_label, [bkg_score])
        return refine_in_boxes(self.refiner, image, stack.scores, boxes if stack.in_boxes else None)

    def _fuse(self, image: Tensor, stacks: Sequence[ScoreStack], boxes: Tensor) -> list[Tensor]:
        return refine_and_fuse(self.refiner, image, stacks, boxes, self.ignore_index)


@MODELS.register_module()
class CamPseudoLabeler(PseudoLabeler):
    """Pseudo-labels from plain CAMs: softmax against the background, refinement, fusion."""

    @torch.no_grad()
    def scores(self, output: CamOutput, gt_label: Tensor, bkg_scores: Sequence[float]) -> ScoreStack:
        """Return the CAMs with background, at half size; see `PseudoLabeler.scores`."""
        return self.plain_scores(output, gt_label, bkg_scores)
