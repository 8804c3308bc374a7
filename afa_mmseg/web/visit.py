"""State of one visitor: an image with its explanation, and the images drawn from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional

import cv2
import numpy as np
from torch import Tensor

from ..apis.inferencer import WeakSegInferencer
from ..functional.cam import resize
from ..visualization.overlays import Image, mark_point, overlay_heat, overlay_label, overlay_propagated, overlay_scores

if TYPE_CHECKING:
    from ..models.segmentors.explanation import Explanation

#: Small images are enlarged, by an integer factor, to a longer side of at least so many pixels.
MIN_SIDE = 512


class Stages(NamedTuple):
    """The steps from CAM to prediction, drawn over the image; RGB (H, W, 3); None without affinity."""

    cam: Image
    propagated: Optional[Image]
    refined: Image
    prediction: Image


class Ties(NamedTuple):
    """Affinity and attention of one pixel; None where the method has none."""

    point: tuple[int, int]  # row and column in the image
    cell: int  # its index in the grid, row by row
    affinity: Optional[np.ndarray]  # (h, w), its row of the learned affinity
    attention: Optional[np.ndarray]  # (heads, h, w), in each head of the last blocks, sum 1 each
    heads: Sequence[int]  # their number in each block


@dataclass(frozen=True, eq=False)
class Visit:
    """An image with the steps of the network on it."""

    image: Image  # (H, W, 3), as it entered the network
    explanation: 'Explanation'  # for the classes that the visitor chose
    own_classes: Sequence[int]  # found by the classifier
    prediction: np.ndarray  # (H, W), of the segmentation head
    palette: Sequence  # RGB of each class, background first

    def with_classes(self, classes: Sequence[int]) -> 'Visit':
        """Choose the foreground classes, 0 being the first one."""
        return replace(self, explanation=self.explanation.with_classes(classes))

    @property
    def enlargement(self) -> int:
        """Pixels of the drawn images per pixel of the image."""
        return max(1, -(-MIN_SIDE // max(self.image.shape[:2])))

    @cached_property
    def canvas(self) -> Image:
        """The image in the size of the drawn images; RGB (kH, kW, 3), k being `enlargement`."""
        k = self.enlargement
        return cv2.resize(self.image, None, fx=k, fy=k, interpolation=cv2.INTER_CUBIC) if k > 1 else self.image

    def stages(self, bkg_score: float) -> Stages:
        """Draw the steps for a background score, without running the network."""
        cam = self._draw_scores(overlay_scores, self.explanation.cam()[[i - 1 for i in self._shown[1:]]])
        return Stages(cam, *self.refined(bkg_score), self._draw_label(self.prediction))

    def refined(self, bkg_score: float) -> tuple[Optional[Image], Image]:
        """Draw the two steps that depend on the background score: propagated CAM and refined label."""
        steps, propagated = self.explanation, None
        if steps.has_affinity:
            propagated = self._draw_scores(overlay_propagated, steps.propagated(bkg_score)[self._shown])
        return propagated, self._draw_label(steps.to_original(steps.refined_label(bkg_score)).cpu().numpy())

    def ties(self, row: int, column: int) -> Ties:
        """Look up affinity and attention of a pixel of the image; outside, of the nearest pixel."""
        steps = self.explanation
        row, column = (min(max(x, 0), length - 1) for x, length in zip((row, column), self.image.shape))
        affinity = steps.affinity_of(row, column).cpu().numpy() if steps.has_affinity else None
        attention = steps.attention_of(row, column).cpu().numpy() if steps.has_attention else None
        heads = [attention.query.shape[1] for attention in steps.attentions]
        return Ties((row, column), steps.cell_of(row, column), affinity, attention, heads)

    def draw_tie(self, heat: np.ndarray, point: tuple[int, int]) -> Image:
        """Draw one map of `ties` over the image, from 0 to its largest value, and mark the pixel."""
        row, column = (int((value + 0.5) * self.enlargement) for value in point)
        return mark_point(overlay_heat(self.canvas, heat), row, column)

    def classes_shown(self) -> list[int]:
        """Return the classes of the legend, 1 being the first of the foreground."""
        return sorted({*np.unique(self.prediction).tolist(), *(i + 1 for i in self.explanation.classes)} - {0})

    @property
    def _shown(self) -> list[int]:
        """The background and the chosen classes, or an absent one, whose scores are 0."""
        return [0, *(i + 1 for i in self.explanation.classes or [0])]

    def _draw_scores(self, draw: Callable[..., Image], scores: Tensor) -> Image:
        enlarged = resize(self.explanation.to_original(scores)[None], self.canvas.shape[:2])[0]
        return draw(self.canvas, enlarged.cpu().numpy(), [self.palette[i] for i in self._shown])

    def _draw_label(self, label: np.ndarray) -> Image:
        k = self.enlargement
        return overlay_label(self.canvas, label.repeat(k, axis=0).repeat(k, axis=1), self.palette)


def look_at(inferencer: WeakSegInferencer, image: Image) -> Visit:
    """Run the network on an image, RGB (H, W, 3).

    Raises:
        ValueError: It is too small for the network.
    """
    bgr = np.ascontiguousarray(image[..., ::-1])
    explanation = inferencer.explain(bgr)
    prediction = inferencer(bgr, with_cam=False)['predictions']
    return Visit(image, explanation, explanation.classes, prediction, inferencer.palette)
