"""One picture per image that shows each step from CAM to prediction."""

from collections.abc import Sequence
from typing import Optional

import cv2
import numpy as np

Image = np.ndarray  #: RGB uint8 (H, W, 3)

#: Grey level of a caption bar and its height in pixels.
CAPTION_COLOUR, CAPTION_HEIGHT = 32, 18
MIN_TILE = 160
GAP = 4


def overlay_label(image: Image, label: np.ndarray, palette: Sequence, *, opacity: float = 0.65) -> Image:
    """Paint a label map over an image; background stays, ignored pixels (255) are hatched.

    Shape:
        image (H, W, 3); label (H, W); output (H, W, 3).
    """
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    painted = image * (1 - opacity) + colours[label] * opacity
    out = np.where((label > 0)[..., None], painted, image * 0.55)
    diagonal = np.add.outer(np.arange(label.shape[0]), np.arange(label.shape[1]))
    hatch = np.where((diagonal // 3 % 2)[..., None], 235, 150)
    return np.where((label == 255)[..., None], 0.4 * image + 0.6 * hatch, out).astype(np.uint8)


def overlay_scores(image: Image, scores: np.ndarray, palette: Sequence) -> Image:
    """Paint foreground scores over an image: the strongest class's colour, as opaque as its score.

    Shape:
        image (H, W, 3); scores (C, H, W) in [0, 1]; output (H, W, 3).
    """
    winner, strength = scores.argmax(0), scores.max(0)[..., None].clip(0, 1)
    colours = np.asarray(palette, np.float32)[1:][winner]
    return (image * 0.55 * (1 - strength) + colours * strength).astype(np.uint8)


def draw_panel(image: Image, tiles: Sequence[tuple[str, Image]]) -> Image:
    """Put captioned tiles in a row, the image itself first; small images are enlarged.

    Shape:
        image and tiles (H, W, 3); output (H', W', 3).
    """
    scale = max(1, -(-MIN_TILE // min(image.shape[:2])))
    captioned = [_caption(text, tile, scale) for text, tile in [('image', image), *tiles]]
    gap = np.full((captioned[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for tile in captioned for part in (tile, gap)][:-1], axis=1)


def stack_panels(panels: Sequence[Image]) -> Image:
    """Put panels below each other, white where one is narrower."""
    width = max(panel.shape[1] for panel in panels)
    rows = [np.pad(p, ((0, GAP), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in panels]
    return np.concatenate(rows)[:-GAP]


def _caption(text: str, tile: Image, scale: int) -> Image:
    tile = cv2.resize(tile, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    bar = np.full((CAPTION_HEIGHT, tile.shape[1], 3), CAPTION_COLOUR, np.uint8)
    cv2.putText(bar, text, (5, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([bar, tile])


def panel_of_sample(image: Image, sample: dict, palette: Sequence, ground_truth: Optional[np.ndarray] = None) -> Image:
    """Draw what a prediction carries: ground truth, CAM, propagated CAM, pseudo-label, segmentation.

    Args:
        image: The picture.
        sample: A prediction as a dict of arrays, `pred_cam` (C, H, W), `pred_propagated_cam` (C + 1, H, W),
            `pred_pseudo_label` (H, W), `pred_sem_seg` (H, W); what is missing is left out.
        palette: RGB of each class, background first.
        ground_truth: Label map (H, W), if there is one.
    """
    tiles = []
    if ground_truth is not None:
        tiles.append(('ground truth', overlay_label(image, ground_truth, palette)))
    if 'pred_cam' in sample:
        tiles.append(('CAM', overlay_scores(image, sample['pred_cam'], palette)))
    if 'pred_propagated_cam' in sample:
        # After a softmax over few classes scores differ little: stretch each class's to [0, 1].
        scores = sample['pred_propagated_cam'][1:]
        low, high = (reduce(scores, axis=(1, 2), keepdims=True) for reduce in (np.min, np.max))
        tiles.append(('propagated CAM', overlay_scores(image, (scores - low) / (high - low + 1e-5), palette)))
    if 'pred_pseudo_label' in sample:
        tiles.append(('pseudo-label', overlay_label(image, sample['pred_pseudo_label'], palette)))
    tiles.append(('prediction', overlay_label(image, sample['pred_sem_seg'], palette)))
    return draw_panel(image, tiles)
