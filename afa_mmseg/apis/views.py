"""Predictions as arrays, and overlays and panels of them."""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import cv2
import numpy as np
from mmseg.structures import SegDataSample

from ..visualization import draw_grid, overlay_label, overlay_propagated, overlay_scores, with_legend
from ..visualization.overlays import Image
from ..visualization.panel import enlarge
from .images import shrink
from .inferencer import to_array

#: Results that can be drawn, with their captions.
CAPTIONS = dict(cam='CAM', propagated='propagated CAM', pseudo='pseudo-label', pred='segmentation')
#: Their fields in a data sample, and which of these are label maps.
FIELDS = dict(
    pred='pred_sem_seg',
    score='pred_score',
    cam='pred_cam',
    propagated='pred_propagated_cam',
    pseudo='pred_pseudo_label',
)
LABELS = {'pred', 'pseudo'}
#: Longer sides of an overlay and of a tile, and largest width of a panel, in pixels.
OVERLAY_SIDE, TILE_SIDE, PANEL_WIDTH = 1280, 480, 1500


class Prediction(NamedTuple):
    """A prediction in arrays; what was not requested, or the method lacks, is None."""

    pred: np.ndarray  # (H, W), uint8
    score: Optional[np.ndarray] = None  # (C,), the classifier's probabilities of the foreground classes
    classes: Sequence[int] = ()  # in the image, 0 being the first foreground class
    cam: Optional[np.ndarray] = None  # (C, H, W)
    propagated: Optional[np.ndarray] = None  # (C + 1, H, W), background first; affinity of `test_cfg.affinity_scale`
    pseudo: Optional[np.ndarray] = None  # (H, W), uint8, 255 where ignored

    @classmethod
    def of(cls, sample: SegDataSample) -> 'Prediction':
        """Convert a data sample of `WeakSegInferencer`."""
        fields = {name: to_array(sample.get(field)) for name, field in FIELDS.items() if field in sample}
        labels = {name: fields[name].astype(np.uint8) for name in LABELS & fields.keys()}
        held = to_array(sample.gt_label) if 'gt_label' in sample else fields.get('score', np.zeros(0)) > 0.5
        return cls(**{**fields, **labels}, classes=np.flatnonzero(held).tolist())

    def label(self, what: str) -> Optional[np.ndarray]:
        """Return a result as a label map (H, W), uint8; of propagated CAMs the likeliest class; None for CAMs."""
        if what == 'propagated' and self.propagated is not None:
            return self.propagated.argmax(axis=0).astype(np.uint8)
        return getattr(self, what) if what in LABELS else None


class Painter(NamedTuple):
    """Draws predictions; names and RGB are those of all classes, background first."""

    names: Sequence[str]
    palette: Sequence[Sequence[int]]

    def overlay(self, image: Image, prediction: Prediction, what: str) -> Image:
        """Draw one result over an image (H, W, 3) of any scale.

        Raises:
            ValueError: The prediction lacks it.
        """
        values = getattr(prediction, what)
        if values is None:
            raise ValueError(f'the prediction lacks {what}: not requested, or not supported by the method')
        size = image.shape[1::-1]
        if what in LABELS:
            return overlay_label(image, cv2.resize(values, size, interpolation=cv2.INTER_NEAREST), self.palette)
        if not prediction.classes:
            return overlay_label(image, np.zeros(image.shape[:2], np.uint8), self.palette)
        foreground = [index + 1 for index in prediction.classes]
        shown = prediction.classes if what == 'cam' else (0, *foreground)
        scores = np.stack([cv2.resize(values[i], size, interpolation=cv2.INTER_LINEAR) for i in shown])
        draw = overlay_scores if what == 'cam' else overlay_propagated
        return draw(image, scores, [self.palette[index] for index in (0, *foreground)])

    def overlay_with_legend(self, image: Image, prediction: Prediction, what: str) -> Image:
        """Draw one result over an image, with a legend of the classes that occur."""
        drawn = enlarge(self.overlay(shrink(image, OVERLAY_SIDE), prediction, what))
        return self._with_legend(drawn, prediction, [what])

    def panel(self, image: Image, prediction: Prediction, what: Sequence[str]) -> Image:
        """Draw an image and several results side by side, with a legend of the classes that occur."""
        small = shrink(image, TILE_SIDE)
        tiles = [('image', small)]
        for name in what:
            is_empty = name != 'pred' and not prediction.classes
            caption = f'{CAPTIONS[name]}: no class' if is_empty else CAPTIONS[name]
            tiles.append((caption, self.overlay(small, prediction, name)))
        grid = draw_grid([[(caption, enlarge(tile)) for caption, tile in tiles]], max_width=PANEL_WIDTH)
        return self._with_legend(grid, prediction, what)

    def _with_legend(self, image: Image, prediction: Prediction, what: Sequence[str]) -> Image:
        names = list(self.names)
        if prediction.score is not None:
            names[1:] = (f'{name} {p:.0%}' for name, p in zip(names[1:], prediction.score))
        return with_legend(image, names, self.palette, occurring(prediction, what))


def occurring(prediction: Prediction, what: Sequence[str]) -> list[int]:
    """List the foreground classes, and 255, that are visible in some results; background is 0."""
    held = [index + 1 for index in prediction.classes]
    seen = {int(i) for name in what for i in (np.unique(getattr(prediction, name)) if name in LABELS else held)}
    return sorted(seen - {0})
