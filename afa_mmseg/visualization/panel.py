"""Tiles with captions, in rows and grids."""

from collections.abc import Sequence
from typing import Optional

import cv2
import numpy as np

from .overlays import Image
from .text import draw_text, text_size

Tile = tuple[str, Image]  #: A caption and a picture.

#: Grey level of a caption bar, and the space around its text in pixels.
CAPTION_COLOUR, CAPTION_MARGIN = 32, 3
#: Smaller pictures are enlarged, up to a side of `MAX_ENLARGED` pixels; tiles are at least `MIN_TILE` wide.
MIN_TILE, MAX_ENLARGED = 160, 640
GAP = 4
PAPER = 255


def draw_panel(image: Image, tiles: Sequence[Tile], *, max_width: Optional[int] = None) -> Image:
    """Put captioned tiles in a row, the image itself first; small images are enlarged.

    Args:
        image: The picture.
        tiles: Captions with pictures.
        max_width: Tiles go on in a row below where a row would be wider; in pixels.

    Shape:
        image and tiles (H, W, 3); output (H', W', 3).
    """
    return draw_grid([[(text, enlarge(tile)) for text, tile in (('image', image), *tiles)]], max_width=max_width)


def draw_grid(rows: Sequence[Sequence[Tile]], *, max_width: Optional[int] = None) -> Image:
    """Put captioned tiles in rows; a row that is wider than `max_width` pixels goes on below.

    Shape:
        tiles (H, W, 3); output (H', W', 3).
    """
    captioned = [[_caption(text, tile) for text, tile in row] for row in rows]
    return stack_panels([_beside(tiles) for row in captioned for tiles in _wrap(row, max_width)])


def stack_panels(panels: Sequence[Image]) -> Image:
    """Put panels below each other, white where one is narrower."""
    width = max(panel.shape[1] for panel in panels)
    rows = [_pad(panel, panel.shape[0] + GAP, width, PAPER) for panel in panels]
    return np.concatenate(rows)[:-GAP]


def enlarge(image: Image) -> Image:
    """Enlarge a small picture by a whole number, pixels staying sharp."""
    factor = max(1, min(-(-MIN_TILE // min(image.shape[:2])), MAX_ENLARGED // max(image.shape[:2])))
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)


def _wrap(tiles: Sequence[Image], max_width: Optional[int]) -> list[list[Image]]:
    """Cut a row into several of about the same number of tiles."""
    widest = max(tile.shape[1] for tile in tiles) + GAP
    fitting = len(tiles) if max_width is None else max(1, (max_width + GAP) // widest)
    each = -(-len(tiles) // -(-len(tiles) // fitting))
    return [list(tiles[i : i + each]) for i in range(0, len(tiles), each)]


def _beside(tiles: Sequence[Image]) -> Image:
    height = max(tile.shape[0] for tile in tiles)
    return np.concatenate([_pad(tile, height, tile.shape[1] + GAP, PAPER) for tile in tiles], axis=1)[:, :-GAP]


def _pad(image: Image, height: int, width: int, value: int) -> Image:
    below_and_beside = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return np.pad(image, below_and_beside, constant_values=value)


def _caption(text: str, tile: Image) -> Image:
    beside = max(MIN_TILE - tile.shape[1], 0)
    tile = np.pad(tile, ((0, 0), (beside // 2, beside - beside // 2), (0, 0)), constant_values=PAPER)
    height = text_size(text)[1] + 2 * CAPTION_MARGIN
    bar = np.full((height, tile.shape[1], 3), CAPTION_COLOUR, np.uint8)
    inside = tile.shape[1] - 4 * CAPTION_MARGIN
    return np.concatenate([draw_text(bar, text, (2 * CAPTION_MARGIN, CAPTION_MARGIN), max_width=inside), tile])
