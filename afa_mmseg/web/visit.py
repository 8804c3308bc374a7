"""What the page knows about one visitor's picture, and the pictures that it makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Callable, NamedTuple

import cv2
import numpy as np
from torch import Tensor

from ..apis.inferencer import WeakSegInferencer
from ..functional.cam import resize
from ..models.segmentors.explanation import Explanation
from ..visualization.overlays import Image, mark_point, overlay_heat, overlay_label, overlay_propagated, overlay_scores

#: Small pictures are enlarged, by a whole number, until their longer side has at least so many pixels.
MIN_SIDE = 512


class Stages(NamedTuple):
    """The steps from CAM to prediction, each painted over the picture; RGB (H, W, 3)."""

    cam: Image
    propagated: Image
    refined: Image
    prediction: Image


class Ties(NamedTuple):
    """What one pixel is tied to, in numbers.

    Args:
        point: Row and column in the picture.
        cell: Number of its cell in the grid, row by row.
        affinity: Its row of the learned affinity.
        attention: What it attends to, for each head of the last blocks.
        heads: How many of the heads each block has.

    Shape:
        affinity (h, w) in [0, 1]; attention (heads, h, w), sum 1 each.
    """

    point: tuple[int, int]
    cell: int
    affinity: np.ndarray
    attention: np.ndarray
    heads: Sequence[int]


@dataclass(frozen=True, eq=False)
class Visit:
    """A picture with the steps that the network takes on it.

    Args:
        picture: RGB, as it entered the network.
        file_size: Height and width of the file that it was read from.
        explanation: Of the picture, with the classes that the visitor ticked.
        own_classes: Those that the classifier sees.
        prediction: Of the segmentation head.
        palette: RGB of each class, background first.

    Shape:
        picture (H, W, 3); prediction (H, W).
    """

    picture: Image
    file_size: tuple[int, int]
    explanation: Explanation
    own_classes: Sequence[int]
    prediction: np.ndarray
    palette: Sequence

    def with_classes(self, classes: Sequence[int]) -> 'Visit':
        """Take the picture to hold these foreground classes, 0 being the first one."""
        return replace(self, explanation=self.explanation.with_classes(classes))

    @property
    def enlargement(self) -> int:
        """How many pixels of the page's pictures, along each side, show one of this picture."""
        return max(1, -(-MIN_SIDE // max(self.picture.shape[:2])))

    @cached_property
    def canvas(self) -> Image:
        """The picture in the size in which the page shows it; RGB (kH, kW, 3), k being `enlargement`."""
        k = self.enlargement
        return cv2.resize(self.picture, None, fx=k, fy=k, interpolation=cv2.INTER_CUBIC) if k > 1 else self.picture

    def stages(self, bkg_score: float) -> Stages:
        """Draw the steps for a background score; costs no pass through the network."""
        cam = self._paint_scores(overlay_scores, self.explanation.cam()[[i - 1 for i in self._shown[1:]]])
        return Stages(cam, *self.spread(bkg_score), self._paint_label(self.prediction))

    def spread(self, bkg_score: float) -> tuple[Image, Image]:
        """Draw the two steps that a background score changes: propagated CAM and refined label."""
        explanation = self.explanation
        spread = self._paint_scores(overlay_propagated, explanation.propagated(bkg_score)[self._shown])
        label = explanation.to_original(explanation.refined_label(bkg_score)).cpu().numpy()
        return spread, self._paint_label(label)

    def ties(self, row: int, column: int) -> Ties:
        """Look up what a pixel of the picture is tied to."""
        explanation = self.explanation
        return Ties(
            (row, column),
            explanation.cell_of(row, column),
            explanation.affinity_of(row, column).cpu().numpy(),
            explanation.attention_of(row, column).cpu().numpy(),
            [query.shape[1] for query, _ in explanation.attentions],
        )

    def draw_tie(self, heat: np.ndarray, point: tuple[int, int]) -> Image:
        """Paint one map of `ties` over the picture, from 0 to its largest value, and mark the pixel."""
        row, column = (int((value + 0.5) * self.enlargement) for value in point)
        return mark_point(overlay_heat(self.canvas, heat), row, column)

    def classes_shown(self) -> list[int]:
        """Give the classes that a legend has to name, 1 being the first of the foreground."""
        present = {*np.unique(self.prediction).tolist(), *(i + 1 for i in self.explanation.classes)}
        return sorted(present - {0})

    @property
    def _shown(self) -> list[int]:
        """The background and the ticked classes, or one that is absent: its scores are 0."""
        return [0, *(i + 1 for i in self.explanation.classes or [0])]

    def _paint_scores(self, paint: Callable[..., Image], scores: Tensor) -> Image:
        enlarged = resize(self.explanation.to_original(scores)[None], self.canvas.shape[:2])[0]
        return paint(self.canvas, enlarged.cpu().numpy(), [self.palette[i] for i in self._shown])

    def _paint_label(self, label: np.ndarray) -> Image:
        k = self.enlargement
        return overlay_label(self.canvas, label.repeat(k, axis=0).repeat(k, axis=1), self.palette)


def look_at(inferencer: WeakSegInferencer, picture: Image, file_size: tuple[int, int]) -> Visit:
    """Pass a picture through the network, once and for all.

    Args:
        inferencer: With the network.
        picture: RGB.
        file_size: Height and width of the file that it was read from.

    Shape:
        picture (H, W, 3).

    Raises:
        ValueError: It is too small for the network.
    """
    bgr = np.ascontiguousarray(picture[..., ::-1])
    explanation = inferencer.explain(bgr)
    prediction = inferencer(bgr, with_cam=False, with_pseudo_label=False)['predictions']
    return Visit(picture, file_size, explanation, explanation.classes, prediction, inferencer.palette)
