"""Panels: captioned tiles in rows and grids, with a legend of the classes."""

from collections.abc import Iterable, Sequence
from typing import Optional

import cv2
import numpy as np

from .overlays import IGNORED, Image, hatch
from .text import break_text, draw_text, text_size

Tile = tuple[str, Image]  #: A caption and an image.

#: Caption bar: pixel value, and margin of its text in pixels.
CAPTION_COLOUR, CAPTION_MARGIN = 32, 3
#: Small images are enlarged, up to a side of `MAX_ENLARGED` pixels; tiles are at least `MIN_TILE` wide.
MIN_TILE, MAX_ENLARGED = 160, 640
GAP = 4
PAPER = 255
#: Legend: side of a colour sample, margins, least width below an image, all in pixels; colours of text and edges.
SWATCH, MARGIN, MIN_WIDTH = 14, 6, 200
INK, EDGE = (32, 32, 32), 96
IGNORED_NAME = 'ignored'


def draw_grid(rows: Sequence[Sequence[Tile]], *, max_width: Optional[int] = None) -> Image:
    """Draw captioned tiles in rows; a row wider than `max_width` pixels is wrapped, a wide caption has two lines."""
    widened = [[(text, _widen(tile)) for text, tile in row] for row in rows]
    return stack_panels([_beside(_add_captions(part)) for row in widened for part in _wrap(row, max_width)])


def stack_panels(panels: Sequence[Image]) -> Image:
    """Stack panels vertically; narrow ones are padded with white."""
    width = max(panel.shape[1] for panel in panels)
    return np.concatenate([_pad(panel, panel.shape[0] + GAP, width) for panel in panels])[:-GAP]


def enlarge(image: Image) -> Image:
    """Enlarge a small image by an integer factor, by nearest neighbour."""
    factor = max(1, min(-(-MIN_TILE // min(image.shape[:2])), MAX_ENLARGED // max(image.shape[:2])))
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)


def with_legend(image: Image, names: Sequence[str], palette: Sequence, indices: Iterable[int]) -> Image:
    """Append a legend (see `draw_legend`) below an image (H, W, 3); a narrow image is padded with white."""
    width = max(image.shape[1], MIN_WIDTH)
    return np.concatenate([_pad(image, image.shape[0], width), draw_legend(names, palette, indices, width)])


def draw_legend(names: Sequence[str], palette: Sequence, indices: Iterable[int], width: int) -> Image:
    """Draw a colour sample and a name for each class, in as many columns as fit.

    Args:
        names: Of all classes; names wider than the legend are cut.
        palette: RGB of all classes.
        indices: Classes in the legend; 255 stands for ignored pixels.
        width: In pixels.

    Shape:
        output (H, width, 3).
    """
    entries = [
        (IGNORED_NAME, (0, 0, 0), i) if i == IGNORED else (names[i], palette[i], i)
        for i in sorted({int(i) for i in indices})
    ]
    sizes = [text_size(name) for name, _, _ in entries]
    line = max([SWATCH, *(height for _, height in sizes)]) + 4
    inner = max(width - 2 * MARGIN, 1)
    column = min(SWATCH + max([0, *(length for length, _ in sizes)]) + 3 * MARGIN, inner)
    rows = -(-len(entries) // max(inner // column, 1))
    legend = np.full((rows * line + 2 * MARGIN if entries else 0, width, 3), PAPER, np.uint8)
    for i, (name, colour, index) in enumerate(entries):
        x, y = MARGIN + i // rows * column, MARGIN + i % rows * line
        top = y + (line - SWATCH) // 2
        _draw_swatch(legend[top : top + SWATCH, x : x + SWATCH], colour, index)
        position = x + SWATCH + MARGIN, y + (line - sizes[i][1]) // 2
        legend = draw_text(legend, name, position, INK)
    return legend


def _draw_swatch(pixels: Image, colour: Sequence[int], index: int) -> None:
    pixels[:] = EDGE
    inside = pixels[1:-1, 1:-1]
    inside[:] = hatch(*inside.shape[:2]) if index == IGNORED else np.asarray(colour)


def _wrap(tiles: Sequence[Tile], max_width: Optional[int]) -> list[list[Tile]]:
    """Split a row into several with similar numbers of tiles."""
    widest = max(tile.shape[1] for _, tile in tiles) + GAP
    fitting = len(tiles) if max_width is None else max(1, (max_width + GAP) // widest)
    each = -(-len(tiles) // -(-len(tiles) // fitting))
    return [list(tiles[i : i + each]) for i in range(0, len(tiles), each)]


def _beside(tiles: Sequence[Image]) -> Image:
    height = max(tile.shape[0] for tile in tiles)
    return np.concatenate([_pad(tile, height, tile.shape[1] + GAP) for tile in tiles], axis=1)[:, :-GAP]


def _pad(image: Image, height: int, width: int) -> Image:
    below, right = height - image.shape[0], width - image.shape[1]
    return np.pad(image, ((0, below), (0, right), (0, 0)), constant_values=PAPER)


def _widen(tile: Image) -> Image:
    missing = max(MIN_TILE - tile.shape[1], 0)
    return np.pad(tile, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)), constant_values=PAPER)


def _add_captions(row: Sequence[Tile]) -> list[Image]:
    """Draw captions above the tiles of a row, in bars of one height."""
    captions = [break_text(text, tile.shape[1] - 4 * CAPTION_MARGIN) for text, tile in row]
    line = max(text_size(text)[1] for lines in captions for text in lines)
    height = max(map(len, captions)) * line + 2 * CAPTION_MARGIN
    return [np.concatenate([_bar(lines, height, line, tile.shape[1]), tile]) for lines, (_, tile) in zip(captions, row)]


def _bar(lines: Sequence[str], height: int, line: int, width: int) -> Image:
    bar = np.full((height, width, 3), CAPTION_COLOUR, np.uint8)
    for number, text in enumerate(lines):
        bar = draw_text(bar, text, (2 * CAPTION_MARGIN, CAPTION_MARGIN + number * line))
    return bar
