"""What a prediction shows, painted over its picture."""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import cv2
import numpy as np
from mmseg.structures import SegDataSample

from ..visualization import draw_grid, overlay_label, overlay_propagated, overlay_scores, with_legend
from ..visualization.overlays import Image
from ..visualization.panel import enlarge
from .inferencer import to_array

#: What can be asked for, and how pictures call it.
CAPTIONS = dict(cam='CAM', propagated='propagated CAM', pseudo='pseudo-label', pred='segmentation')
#: Which fields of a data sample hold it, and which of these are label maps.
FIELDS = dict(
    pred='pred_sem_seg',
    score='pred_score',
    cam='pred_cam',
    propagated='pred_propagated_cam',
    pseudo='pred_pseudo_label',
)
LABELS = {'pred', 'pseudo'}
#: Longer sides of an overlay and of a tile of the panel, in pixels: larger pictures are made smaller to be looked at.
OVERLAY_SIDE, TILE_SIDE = 1280, 480
#: A panel goes on below where it would be wider, in pixels.
PANEL_WIDTH = 1500


class Prediction(NamedTuple):
    """A prediction in arrays; what was not asked for is None.

    Args:
        pred: Segmentation.
        score: The classifier's probabilities of the foreground classes.
        classes: Indices of those that the picture is taken to hold, 0 being the first one.
        cam: CAMs.
        propagated: Propagated CAMs, background first; along the affinity that `test_cfg.affinity_scale` names, by
            default that of the picture as it is, where `explain` takes that of the largest scale.
        pseudo: Pseudo-label, 255 where undecided.

    Shape:
        pred, pseudo (H, W), uint8; score (C,); cam (C, H, W); propagated (C + 1, H, W).
    """

    pred: np.ndarray
    score: Optional[np.ndarray] = None
    classes: Sequence[int] = ()
    cam: Optional[np.ndarray] = None
    propagated: Optional[np.ndarray] = None
    pseudo: Optional[np.ndarray] = None

    @classmethod
    def of(cls, sample: SegDataSample) -> 'Prediction':
        """Take the arrays out of a data sample of `WeakSegInferencer`."""
        fields = {name: to_array(sample.get(field)) for name, field in FIELDS.items() if field in sample}
        labels = {name: fields[name].astype(np.uint8) for name in LABELS & fields.keys()}
        held = to_array(sample.gt_label) if 'gt_label' in sample else fields.get('score', np.zeros(0)) > 0.5
        return cls(**{**fields, **labels}, classes=np.flatnonzero(held).tolist())

    @property
    def num_classes(self) -> Optional[int]:
        """How many foreground classes the picture is taken to hold, if CAMs were asked for."""
        return None if self.score is None else len(self.classes)

    def label(self, what: str) -> Optional[np.ndarray]:
        """Give one of its label maps (H, W), uint8: the likeliest class where it has scores; None for bare CAMs."""
        if what == 'propagated' and self.propagated is not None:
            return self.propagated.argmax(axis=0).astype(np.uint8)
        return getattr(self, what) if what in LABELS else None


class Painter(NamedTuple):
    """Paints predictions.

    Args:
        names: Of all classes, background first.
        palette: RGB of all classes.
    """

    names: Sequence[str]
    palette: Sequence[Sequence[int]]

    def overlay(self, image: Image, prediction: Prediction, what: str) -> Image:
        """Paint one thing over a picture; without a legend.

        Shape:
            image (H, W, 3), of the prediction's size or made smaller; output (H, W, 3).
        """
        size = image.shape[1::-1]
        if what in LABELS:
            label = cv2.resize(getattr(prediction, what), size, interpolation=cv2.INTER_NEAREST)
            return overlay_label(image, label, self.palette)
        if not prediction.classes:
            return overlay_label(image, np.zeros(image.shape[:2], np.uint8), self.palette)
        paint = overlay_scores if what == 'cam' else overlay_propagated
        palette = [self.palette[index] for index in (0, *(held + 1 for held in prediction.classes))]
        scores = [cv2.resize(x, size, interpolation=cv2.INTER_LINEAR) for x in _scores(prediction, what)]
        return paint(image, np.stack(scores), palette)

    def overlay_with_legend(self, image: Image, prediction: Prediction, what: str) -> Image:
        """Paint one thing over a picture, with a legend of the classes that occur."""
        painted = enlarge(self.overlay(shrink(image, OVERLAY_SIDE), prediction, what))
        return self._with_legend(painted, prediction, [what])

    def panel(self, image: Image, prediction: Prediction, what: Sequence[str]) -> Image:
        """Put a picture and several things painted over it side by side, with a legend of the classes that occur."""
        small = shrink(image, TILE_SIDE)
        painted = [(self._caption(prediction, name), self.overlay(small, prediction, name)) for name in what]
        tiles = [(caption, enlarge(tile)) for caption, tile in (('picture', small), *painted)]
        return self._with_legend(draw_grid([tiles], max_width=PANEL_WIDTH), prediction, what)

    def _with_legend(self, image: Image, prediction: Prediction, what: Sequence[str]) -> Image:
        return with_legend(image, self.named(prediction), self.palette, occurring(prediction, what))

    def _caption(self, prediction: Prediction, what: str) -> str:
        return f'{CAPTIONS[what]}: no class seen' if what != 'pred' and not prediction.classes else CAPTIONS[what]

    def named(self, prediction: Prediction) -> list[str]:
        """Names of the classes, each with the classifier's probability where the prediction has it."""
        if prediction.score is None:
            return list(self.names)
        return [self.names[0], *(f'{name} {p:.0%}' for name, p in zip(self.names[1:], prediction.score))]


def occurring(prediction: Prediction, what: Sequence[str]) -> list[int]:
    """List the foreground classes, and 255, that one sees, background being 0."""
    seen: set[int] = set()
    for name in what:
        label = getattr(prediction, name) if name in LABELS else None
        seen.update(index + 1 for index in prediction.classes) if label is None else seen.update(np.unique(label))
    return sorted(int(index) for index in seen - {0})


def shrink(image: Image, side: int) -> Image:
    """Bring a larger picture down to a longer side in pixels."""
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(length * factor)) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _scores(prediction: Prediction, what: str) -> list[np.ndarray]:
    """List CAMs, or propagated CAMs with the background first, of the classes that the picture is taken to hold."""
    scores = prediction.cam if what == 'cam' else prediction.propagated
    if scores is None:
        raise ValueError(f'the prediction lacks {what}: it was not asked for')
    held = prediction.classes
    return [scores[i] for i in (held if what == 'cam' else (0, *(index + 1 for index in held)))]
