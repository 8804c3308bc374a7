"""Pictures of the steps between an image and its labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

import cv2
import numpy as np
import torch
from torch import Tensor

from ..functional.cam import resize
from ..functional.pseudo_label import likeliest, refine_in_boxes
from .legend import with_legend
from .overlays import (
    IGNORED,
    Image,
    draw_box,
    mark_point,
    overlay_heat,
    overlay_label,
    overlay_propagated,
    overlay_scores,
)
from .panel import Tile, draw_grid, draw_panel
from .text import legible

if TYPE_CHECKING:
    from ..models.segmentors.explanation import Explanation

#: Longer side of a tile in pixels, and tiles in a row.
TILE, COLUMNS = 224, 5
#: At most so many classes get heat maps, those of the highest scores.
MAX_CLASSES = 10
#: Heads of attention beside each affinity, evenly spread over those of the last blocks.
NUM_HEADS = 4

Point = tuple[int, int]  #: Row and column in pixels of the image file.


@torch.no_grad()
def panel_of_explanation(
    image: Image,
    explanation: 'Explanation',
    palette: Sequence,
    class_names: Sequence[str],
    *,
    prediction: Optional[np.ndarray] = None,
    ground_truth: Optional[np.ndarray] = None,
    points: Sequence[Point] = (),
) -> Image:
    """Draw what training makes of an image: CAMs, propagated CAMs, pseudo-labels, affinity and attention.

    Heat maps go from black to yellow: CAMs and affinity over 0..1, propagated CAMs between their own smallest and
    largest value, attention from 0 to its largest value. Ignored pixels are hatched. Propagated CAMs are along the
    affinity of the largest scale, as in training, whatever `test_cfg.affinity_scale` says.

    Args:
        image: The picture, in the size of its file.
        explanation: The steps; see `segmentor.explain`.
        palette: RGB of each class, background first.
        class_names: Names of the classes, background first.
        prediction: Label map.
        ground_truth: Label map, if there is one.
        points: Pixels, as rows and columns, whose affinity and attention are shown.

    Shape:
        image (H, W, 3); prediction, ground_truth (H, W); output (H', W', 3).
    """
    artist = _Artist(_to_tile(image), explanation, palette, class_names)
    labels = dict(_labels(explanation))
    known = [(name, x) for name, x in (('ground truth', ground_truth), ('prediction', prediction)) if x is not None]
    first = [('input', artist.input(points)), *((name, artist.label(x)) for name, x in known)]
    rows = [
        *_in_rows(first, artist.class_pairs()),
        [(name, artist.label(x)) for name, x in labels.items()],
        *(artist.tie_row(number, point) for number, point in enumerate(points, start=1)),
    ]
    maps = [*labels.values(), *(x for _, x in known)]
    occurring = {int(index) for x in maps for index in np.unique(x)} | {index + 1 for index in explanation.classes}
    return with_legend(draw_grid(rows), class_names, palette, occurring)


@torch.no_grad()
def row_of_explanation(
    image: Image,
    explanation: 'Explanation',
    palette: Sequence,
    prediction: np.ndarray,
    ground_truth: Optional[np.ndarray] = None,
) -> Image:
    """Draw the essentials in one row: ground truth, all classes' CAMs, pseudo-label, prediction.

    Shape:
        image (H, W, 3), in the size of its file; prediction, ground_truth (H, W); output (H', W', 3).
    """
    spread = _in_file(explanation, explanation.propagated(explanation.labeler.bkg_scores[0]))
    pseudo_label = _in_file(explanation, explanation.pseudo_label())
    tiles = [
        ('CAM', overlay_scores(image, _in_file(explanation, explanation.cam()), palette)),
        ('propagated CAM', overlay_propagated(image, spread, palette)),
        ('pseudo-label', overlay_label(image, pseudo_label, palette)),
        ('prediction', overlay_label(image, prediction, palette)),
    ]
    if ground_truth is not None:
        tiles.insert(0, ('ground truth', overlay_label(image, ground_truth, palette)))
    return draw_panel(image, tiles)


def image_of(explanation: 'Explanation') -> Image:
    """The picture that was explained, in the size of its file; RGB (H, W, 3)."""
    pixels = explanation.to_original(explanation.image[0]) * 255
    return pixels.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


@torch.no_grad()
def salient_points(explanation: 'Explanation') -> list[Point]:
    """Choose two pixels that say much: where the likeliest class is strongest, and a corner of the background."""
    cam = explanation.to_original(explanation.cam())
    height, width = cam.shape[-2:]
    top, bottom, left, right = _box_in_file(explanation)
    inside = torch.zeros(height, width, device=cam.device)
    inside[top:bottom, left:right] = 1
    strength = cam.amax(dim=0) * inside
    inset = min(bottom - top, right - left) // 12
    corners = [
        (row, column) for row in (top + inset, bottom - 1 - inset) for column in (left + inset, right - 1 - inset)
    ]
    background = min(corners, key=lambda corner: float(strength[corner]))
    if not float(strength.max()) > 0:
        return [((top + bottom) // 2, (left + right) // 2), background]
    strongest = _by_score(explanation)[0]
    peak = int((cam[strongest] + inside).argmax())  # outside the box CAMs are of no interest
    return [(peak // width, peak % width), background]


class _Artist(NamedTuple):
    """Draws the tiles of one explanation."""

    image: Image
    explanation: 'Explanation'
    palette: Sequence
    names: Sequence[str]

    def input(self, points: Sequence[Point]) -> Image:
        """The picture with its box and the marked pixels."""
        out = self.image
        height, width = self.explanation.image.shape[-2:]
        if self.explanation.box != (0, height, 0, width):
            out = draw_box(out, tuple(np.multiply(_box_in_file(self.explanation), np.repeat(self._scale(), 2))))
        for point in points:
            out = mark_point(out, *self._in_tile(point))
        return out

    def label(self, label: np.ndarray) -> Image:
        """A label map over the picture."""
        resized = cv2.resize(label.astype(np.uint8), self.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return overlay_label(self.image, resized, self.palette)

    def class_pairs(self) -> list[list[Tile]]:
        """CAM and propagated CAM of each present class."""
        cam, spread = self.explanation.cam(), self.explanation.propagated(self.explanation.labeler.bkg_scores[0])[1:]
        return [
            [
                (self._caption(f'CAM {float(self.explanation.score[i]):.0%}', i), self._heat(cam[i], high=1.0)),
                (self._caption('propagated', i), self._heat(spread[i], low=float(spread[i].min()))),
            ]
            for i in _by_score(self.explanation)[:MAX_CLASSES]
        ]

    def tie_row(self, number: int, point: Point) -> list[Tile]:
        """What a pixel is tied to: learned affinity, and attention of single heads."""
        heads = self.explanation.attention_of(*point)
        chosen = np.unique(np.linspace(0, len(heads) - 1, min(NUM_HEADS, len(heads))).round().astype(int))
        tiles = [(f'affinity of pixel {number}', self._heat(self.explanation.affinity_of(*point), high=1.0))]
        tiles += [(f'attention head {i + 1}/{len(heads)}', self._heat(heads[i])) for i in chosen]
        return [(name, mark_point(tile, *self._in_tile(point))) for name, tile in tiles]

    def _heat(self, heat: Tensor, low: Optional[float] = None, high: Optional[float] = None) -> Image:
        """Paint a map of the network's input, at any resolution."""
        on_input = resize(heat[None, None].float(), self.explanation.image.shape[-2:])[0]
        return overlay_heat(self.image, _in_file(self.explanation, on_input[0]), low=low, high=high)

    def _caption(self, kind: str, index: int) -> str:
        return f'{kind} {legible(self.names[index + 1], index + 1)}'

    def _scale(self) -> tuple[float, float]:
        """Pixels of the tile per pixel of the file, downwards and to the right."""
        height, width = self.explanation.original_size
        return self.image.shape[0] / height, self.image.shape[1] / width

    def _in_tile(self, point: Point) -> tuple[float, float]:
        return (point[0] + 0.5) * self._scale()[0], (point[1] + 0.5) * self._scale()[1]


def _in_rows(first: list[Tile], pairs: list[list[Tile]]) -> list[list[Tile]]:
    """Put tiles in rows without parting a pair."""
    rows = [first]
    for pair in pairs:
        if len(rows[-1]) + len(pair) > COLUMNS:
            rows.append([])
        rows[-1].extend(pair)
    return rows


def _labels(explanation: 'Explanation') -> list[tuple[str, np.ndarray]]:
    """Pseudo-labels with their captions, in the size of the file."""
    low, high = explanation.labeler.bkg_scores
    maps = [
        ('label from CAM', explanation.cam_label()),
        (f'at background {low:g}', _refined_in_box(explanation, low)),
        (f'at background {high:g}', _refined_in_box(explanation, high)),
        ('final label', explanation.pseudo_label()),
    ]
    return [(name, _in_file(explanation, x)) for name, x in maps]


def _refined_in_box(explanation: 'Explanation', bkg_score: float) -> Tensor:
    """The label of one background score, as the final label joins it; (H, W), ignored outside the box."""
    present = torch.tensor([0, *(index + 1 for index in explanation.classes)], device=explanation.image.device)
    scores, boxes = explanation.propagated(bkg_score)[None, present], torch.tensor([explanation.box])
    refined = refine_in_boxes(explanation.labeler.refiner, explanation.image, scores, boxes)
    label = present[likeliest(refined)[0]]
    top, bottom, left, right = explanation.box
    inside = torch.zeros_like(label, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    return label.masked_fill(~inside, IGNORED)


def _in_file(explanation: 'Explanation', x: Tensor) -> np.ndarray:
    """Bring a map to the size of the file, as an array."""
    return explanation.to_original(x).cpu().numpy()


def _by_score(explanation: 'Explanation') -> list[int]:
    return sorted(explanation.classes, key=lambda index: -float(explanation.score[index]))


def _box_in_file(explanation: 'Explanation') -> tuple[int, int, int, int]:
    """The rows and columns of the file that the box shows: top, bottom, left, right."""
    inside = torch.zeros(1, *explanation.image.shape[-2:], dtype=torch.uint8)
    top, bottom, left, right = explanation.box
    inside[:, top:bottom, left:right] = 1
    rows, columns = np.nonzero(_in_file(explanation, inside[0]))
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1


def _to_tile(image: Image) -> Image:
    """Bring a picture to the size of a tile."""
    height, width = image.shape[:2]
    factor = TILE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
