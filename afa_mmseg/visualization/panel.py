"""Tiles with captions, in rows and grids."""

from collections.abc import Sequence
from typing import Optional

import cv2
import numpy as np

from .overlays import Image
from .text import break_text, draw_text, text_size

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

    Captions that are wider than their tile have a second line.

    Shape:
        tiles (H, W, 3); output (H', W', 3).
    """
    widened = [[(text, _widen(tile)) for text, tile in row] for row in rows]
    return stack_panels([_beside(_caption(part)) for row in widened for part in _wrap(row, max_width)])


def stack_panels(panels: Sequence[Image]) -> Image:
    """Put panels below each other, white where one is narrower."""
    width = max(panel.shape[1] for panel in panels)
    rows = [_pad(panel, panel.shape[0] + GAP, width, PAPER) for panel in panels]
    return np.concatenate(rows)[:-GAP]


def enlarge(image: Image) -> Image:
    """Enlarge a small picture by a whole number, pixels staying sharp."""
    factor = max(1, min(-(-MIN_TILE // min(image.shape[:2])), MAX_ENLARGED // max(image.shape[:2])))
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)


def _wrap(tiles: Sequence[Tile], max_width: Optional[int]) -> list[list[Tile]]:
    """Cut a row into several of about the same number of tiles."""
    widest = max(tile.shape[1] for _, tile in tiles) + GAP
    fitting = len(tiles) if max_width is None else max(1, (max_width + GAP) // widest)
    each = -(-len(tiles) // -(-len(tiles) // fitting))
    return [list(tiles[i : i + each]) for i in range(0, len(tiles), each)]


def _beside(tiles: Sequence[Image]) -> Image:
    height = max(tile.shape[0] for tile in tiles)
    return np.concatenate([_pad(tile, height, tile.shape[1] + GAP, PAPER) for tile in tiles], axis=1)[:, :-GAP]


def _pad(image: Image, height: int, width: int, value: int) -> Image:
    below_and_beside = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return np.pad(image, below_and_beside, constant_values=value)


def _widen(tile: Image) -> Image:
    beside = max(MIN_TILE - tile.shape[1], 0)
    return np.pad(tile, ((0, 0), (beside // 2, beside - beside // 2), (0, 0)), constant_values=PAPER)


def _caption(row: Sequence[Tile]) -> list[Image]:
    """Put captions above tiles, in bars of one height."""
    captions = [break_text(text, tile.shape[1] - 4 * CAPTION_MARGIN) for text, tile in row]
    line = max(text_size(text)[1] for lines in captions for text in lines)
    height = max(map(len, captions)) * line + 2 * CAPTION_MARGIN
    return [np.concatenate([_bar(lines, height, line, tile.shape[1]), tile]) for lines, (_, tile) in zip(captions, row)]


def _bar(lines: Sequence[str], height: int, line: int, width: int) -> Image:
    bar = np.full((height, width, 3), CAPTION_COLOUR, np.uint8)
    for number, text in enumerate(lines):
        place = (2 * CAPTION_MARGIN, CAPTION_MARGIN + number * line)
        bar = draw_text(bar, text, place, max_width=width - 4 * CAPTION_MARGIN)
    return bar
