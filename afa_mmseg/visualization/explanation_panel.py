"""Panels of the steps between an image and its labels: CAMs, pseudo-labels, affinity, attention."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

import cv2
import numpy as np
import torch
from torch import Tensor

from ..functional.cam import resize
from .overlays import Image, draw_box, mark_point, overlay_heat, overlay_label, overlay_propagated, overlay_scores
from .panel import Tile, draw_grid, enlarge, with_legend

if TYPE_CHECKING:
    from ..models.segmentors.explanation import Explanation

#: Longer side of a tile in pixels, and tiles in a row.
TILE, COLUMNS = 224, 5
#: Heat maps are drawn for at most so many classes, those of the highest scores.
MAX_CLASSES = 10
#: Attention heads beside each affinity, evenly spaced over those of the last blocks.
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
    """Draw the steps of training on an image: CAMs, propagated CAMs, pseudo-labels, affinity and attention.

    Heat maps run from black to yellow: CAMs and affinity over 0..1, propagated CAMs between their smallest and
    largest value, attention from 0 to its largest value. Ignored pixels are hatched. Propagated CAMs use the
    affinity of the largest scale, as in training. A method without affinity or attention has no such tiles.

    Args:
        image: In the size of its file.
        explanation: Returned by `segmentor.explain`.
        palette: RGB of each class, background first.
        class_names: Background first.
        prediction: Label map.
        ground_truth: Label map.
        points: Pixels, as rows and columns, whose affinity and attention are drawn.

    Shape:
        image (H, W, 3); prediction, ground_truth (H, W); output (H', W', 3).
    """
    artist = _Artist(_to_tile(image), explanation, palette, class_names)
    labels = _labels(explanation)
    known = [(name, x) for name, x in (('ground truth', ground_truth), ('prediction', prediction)) if x is not None]
    rows = [[('input', artist.input(points)), *((name, artist.label(x)) for name, x in known)]]
    for tiles in artist.class_tiles():  # tiles of one class stay together
        if len(rows[-1]) + len(tiles) > COLUMNS:
            rows.append([])
        rows[-1].extend(tiles)
    rows.append([(name, artist.label(x)) for name, x in labels])
    rows.extend(filter(None, (artist.point_row(number, point) for number, point in enumerate(points, start=1))))
    occurring = {int(index) for _, x in [*labels, *known] for index in np.unique(x)}
    return with_legend(draw_grid(rows), class_names, palette, occurring | {index + 1 for index in explanation.classes})


@torch.no_grad()
def row_of_explanation(
    image: Image,
    explanation: 'Explanation',
    palette: Sequence,
    prediction: np.ndarray,
    ground_truth: Optional[np.ndarray] = None,
) -> Image:
    """Draw the main steps in one row: ground truth, CAMs of all classes, pseudo-label, prediction.

    Shape:
        image (H, W, 3), in the size of its file; prediction, ground_truth (H, W); output (H', W', 3).
    """
    tiles = [('image', image)]
    if ground_truth is not None:
        tiles.append(('ground truth', overlay_label(image, ground_truth, palette)))
    tiles.append(('CAM', overlay_scores(image, _in_file(explanation, explanation.cam()), palette)))
    if explanation.has_affinity:
        propagated = _in_file(explanation, explanation.propagated(explanation.labeler.bkg_scores[0]))
        tiles.append(('propagated CAM', overlay_propagated(image, propagated, palette)))
    pseudo_label = _in_file(explanation, explanation.pseudo_label())
    tiles.append(('pseudo-label', overlay_label(image, pseudo_label, palette)))
    tiles.append(('prediction', overlay_label(image, prediction, palette)))
    return draw_grid([[(text, enlarge(tile)) for text, tile in tiles]])


def image_of(explanation: 'Explanation') -> Image:
    """Return the explained image in the size of its file; RGB (H, W, 3)."""
    pixels = explanation.to_original(explanation.image[0]) * 255
    return pixels.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


@torch.no_grad()
def salient_points(explanation: 'Explanation') -> list[Point]:
    """Choose two pixels: where the CAM of the likeliest class is strongest, and the corner where CAMs are weakest."""
    cam = explanation.to_original(explanation.cam())
    width = cam.shape[-1]
    top, bottom, left, right = _box_in_file(explanation)
    inside = torch.zeros(cam.shape[-2:], device=cam.device)
    inside[top:bottom, left:right] = 1
    strength = cam.amax(dim=0) * inside
    inset = min(bottom - top, right - left) // 12
    corners = [(y, x) for y in (top + inset, bottom - 1 - inset) for x in (left + inset, right - 1 - inset)]
    background = min(corners, key=lambda corner: float(strength[corner]))
    if not float(strength.max()) > 0:
        return [((top + bottom) // 2, (left + right) // 2), background]
    peak = int((cam[_by_score(explanation)[0]] + inside).argmax())  # only inside the box
    return [(peak // width, peak % width), background]


class _Artist(NamedTuple):
    """Draws the tiles of one explanation."""

    image: Image
    explanation: 'Explanation'
    palette: Sequence
    names: Sequence[str]

    def input(self, points: Sequence[Point]) -> Image:
        """Draw the box of a crop and the marked pixels."""
        out = self.image
        height, width = self.explanation.image.shape[-2:]
        if self.explanation.box != (0, height, 0, width):
            out = draw_box(out, tuple(np.multiply(_box_in_file(self.explanation), np.repeat(self._scale(), 2))))
        for point in points:
            out = self._mark(out, point)
        return out

    def label(self, label: np.ndarray) -> Image:
        """Draw a label map."""
        resized = cv2.resize(label.astype(np.uint8), self.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return overlay_label(self.image, resized, self.palette)

    def class_tiles(self) -> list[list[Tile]]:
        """Draw CAM and propagated CAM of each present class."""
        steps = self.explanation
        cam = steps.cam()
        propagated = steps.propagated(steps.labeler.bkg_scores[0])[1:] if steps.has_affinity else None
        tiles = []
        for i in _by_score(steps)[:MAX_CLASSES]:
            name = self.names[i + 1]
            tiles.append([(f'CAM {float(steps.score[i]):.0%} {name}', self._heat(cam[i], high=1.0))])
            if propagated is not None:
                tiles[-1].append((f'propagated {name}', self._heat(propagated[i], low=float(propagated[i].min()))))
        return tiles

    def point_row(self, number: int, point: Point) -> list[Tile]:
        """Draw the affinity of a pixel, and the attention of single heads."""
        tiles: list[Tile] = []
        if self.explanation.has_affinity:
            affinity = self.explanation.affinity_of(*point)
            tiles.append((f'affinity of pixel {number}', self._heat(affinity, high=1.0)))
        if self.explanation.has_attention:
            heads = self.explanation.attention_of(*point)
            chosen = np.unique(np.linspace(0, len(heads) - 1, min(NUM_HEADS, len(heads))).round().astype(int))
            tiles += [(f'attention head {i + 1}/{len(heads)}', self._heat(heads[i])) for i in chosen]
        return [(name, self._mark(tile, point)) for name, tile in tiles]

    def _heat(self, heat: Tensor, low: Optional[float] = None, high: Optional[float] = None) -> Image:
        """Draw a map of the network's input, at any resolution."""
        on_input = resize(heat[None, None].float(), self.explanation.image.shape[-2:])[0, 0]
        return overlay_heat(self.image, _in_file(self.explanation, on_input), low=low, high=high)

    def _mark(self, tile: Image, point: Point) -> Image:
        row, column = np.add(point, 0.5) * self._scale()
        return mark_point(tile, row, column)

    def _scale(self) -> np.ndarray:
        """Return the pixels of the tile per pixel of the file, vertically and horizontally."""
        return np.divide(self.image.shape[:2], self.explanation.original_size)


def _labels(explanation: 'Explanation') -> list[tuple[str, np.ndarray]]:
    """Return pseudo-labels with their captions, in the size of the file."""
    maps = [
        ('label from CAM', explanation.cam_label()),
        *((f'at background {score:g}', explanation.label_at(score)) for score in explanation.labeler.bkg_scores),
        ('final label', explanation.pseudo_label()),
    ]
    return [(name, _in_file(explanation, x)) for name, x in maps]


def _in_file(explanation: 'Explanation', x: Tensor) -> np.ndarray:
    """Resize a map to the size of the file, as an array."""
    return explanation.to_original(x).cpu().numpy()


def _by_score(explanation: 'Explanation') -> list[int]:
    return sorted(explanation.classes, key=lambda index: -float(explanation.score[index]))


def _box_in_file(explanation: 'Explanation') -> tuple[int, int, int, int]:
    """Return the box in pixels of the file: top, bottom, left, right."""
    inside = torch.zeros(explanation.image.shape[-2:], dtype=torch.uint8)
    top, bottom, left, right = explanation.box
    inside[top:bottom, left:right] = 1
    rows, columns = np.nonzero(_in_file(explanation, inside))
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1


def _to_tile(image: Image) -> Image:
    factor = TILE / max(image.shape[:2])
    size = [max(1, round(length * factor)) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
