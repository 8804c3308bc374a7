"""Overlays on images: labels, scores, heat maps, marks."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Optional

import cv2
import numpy as np

Image = np.ndarray  #: RGB uint8 (H, W, 3)

#: Label of ignored pixels.
IGNORED = 255
#: Pixel values of the stripes of ignored pixels, and their width in pixels.
HATCH_VALUES, HATCH_WIDTH = (150, 235), 3
#: Brightness of the image below labels and scores.
DIMMED = 0.55


def overlay_label(image: Image, label: np.ndarray, palette: Sequence, *, opacity: float = 0.65) -> Image:
    """Draw a label map over an image; background is dimmed, ignored pixels (255) are hatched.

    Shape:
        image (H, W, 3); label (H, W); output (H, W, 3).
    """
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    painted = image * (1 - opacity) + colours[label] * opacity
    out = np.where((label > 0)[..., None], painted, image * DIMMED)
    striped = 0.4 * image + 0.6 * hatch(*label.shape)
    return np.where((label == IGNORED)[..., None], striped, out).astype(np.uint8)


def overlay_scores(image: Image, scores: np.ndarray, palette: Sequence) -> Image:
    """Draw foreground scores over an image: the colour of the strongest class, its score as opacity.

    Shape:
        image (H, W, 3); scores (C, H, W) in [0, 1]; output (H, W, 3).
    """
    return _blend(image, scores.argmax(0) + 1, scores.max(0).clip(0, 1), palette)


def overlay_propagated(image: Image, scores: np.ndarray, palette: Sequence) -> Image:
    """Draw propagated CAMs over an image: the colour of the likeliest class, none where that is the background.

    Propagated scores differ little, so opacity is the score of the class relative to its smallest and largest value.

    Shape:
        image (H, W, 3); scores (C + 1, H, W), background first; output (H, W, 3).
    """
    winner = scores.argmax(0)
    low, high = scores.min(axis=(1, 2)), scores.max(axis=(1, 2))
    strength = (scores.max(0) - low[winner]) / (high - low + 1e-5)[winner]
    return _blend(image, winner, np.where(winner > 0, strength, 0), palette)


def overlay_heat(
    image: Image,
    heat: np.ndarray,
    *,
    opacity: float = 0.6,
    low: Optional[float] = None,
    high: Optional[float] = None,
) -> Image:
    """Draw one map over the grayscale image, from black over red to yellow.

    Args:
        image: RGB.
        heat: Any real numbers, at any resolution.
        opacity: Of the colours, in [0, 1].
        low: Value drawn black; default 0.
        high: Value drawn brightest; default: the largest of the map.

    Shape:
        image (H, W, 3); heat (h, w); output (H, W, 3).
    """
    bottom = 0.0 if low is None else low
    top = float(heat.max()) if high is None else high
    scaled = ((heat.astype(np.float32) - bottom) / max(top - bottom, 1e-12)).clip(0, 1)
    if scaled.shape != image.shape[:2]:
        scaled = cv2.resize(scaled, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]  # colours then mean heat only
    colours = _heat_colours()[np.rint(scaled * 255).astype(np.uint8)]
    return (gray * (1 - opacity) + colours * opacity).astype(np.uint8)


def mark_point(image: Image, row: float, column: float) -> Image:
    """Mark a pixel with a ring and a dot, white with a black edge to be visible on any colour."""
    out = np.ascontiguousarray(image).copy()
    centre, radius = (int(column), int(row)), max(5, min(image.shape[:2]) // 32)
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.circle(out, centre, radius, colour, width, cv2.LINE_AA)
    cv2.circle(out, centre, 2, (0, 0, 0), cv2.FILLED)
    cv2.circle(out, centre, 1, (255, 255, 255), cv2.FILLED)
    return out


def draw_box(image: Image, box: Sequence[float]) -> Image:
    """Draw the edge of a box (top, bottom, left, right; half-open), in white and black."""
    top, bottom, left, right = (round(side) for side in box)
    out = np.ascontiguousarray(image).copy()
    for inset, colour in ((0, (0, 0, 0)), (1, (255, 255, 255)), (2, (0, 0, 0))):
        corners = (left + inset, top + inset), (right - 1 - inset, bottom - 1 - inset)
        cv2.rectangle(out, *corners, colour, 1)
    return out


def hatch(height: int, width: int) -> np.ndarray:
    """Return diagonal stripes for pixels of label 255; (H, W, 1)."""
    diagonal = np.add.outer(np.arange(height), np.arange(width))
    return np.where((diagonal // HATCH_WIDTH % 2)[..., None], HATCH_VALUES[1], HATCH_VALUES[0])


def _blend(image: Image, label: np.ndarray, strength: np.ndarray, palette: Sequence) -> Image:
    """Draw the colours of a label map over a dimmed image, with the opacity `strength` (H, W)."""
    opacity = strength[..., None]
    return (image * DIMMED * (1 - opacity) + np.asarray(palette, np.float32)[label] * opacity).astype(np.uint8)


@lru_cache(maxsize=1)
def _heat_colours() -> np.ndarray:
    """Return the 256 colours of the perceptually uniform map 'inferno'; RGB (256, 3)."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(np.float32)
