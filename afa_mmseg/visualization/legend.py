"""Which colour is which class."""

from collections.abc import Iterable, Sequence
from typing import Optional

import numpy as np

from .overlays import IGNORED, Image, hatch
from .text import draw_text, legible, text_size

#: Sides of a colour sample, space around it and around the legend, in pixels.
SWATCH, MARGIN = 14, 6
#: A legend below a picture is at least this wide.
MIN_WIDTH = 200
INK, PAPER, EDGE = (32, 32, 32), 255, 96
IGNORED_NAME = 'ignored'


def draw_legend(
    names: Sequence[str], palette: Sequence, width: int, *, indices: Optional[Sequence[int]] = None
) -> Image:
    """Draw a colour sample and a name per class, in as many columns as fit, read downwards.

    Args:
        names: Of the classes; one that is wider than the legend is cut.
        palette: RGB of each of them.
        width: In pixels.
        indices: Numbers of the classes, which stand for names that no font here can write; 0, 1, ... if not given.

    Shape:
        output (H, width, 3).
    """
    numbers = range(len(names)) if indices is None else indices
    return _draw([(legible(name, i), colour, i) for name, colour, i in zip(names, palette, numbers)], width)


def with_legend(image: Image, names: Sequence[str], palette: Sequence, indices: Iterable[int]) -> Image:
    """Put a legend of some classes below a picture, white beside a narrow one.

    Args:
        image: The picture.
        names: Of all classes, background first.
        palette: RGB of all classes.
        indices: Classes that occur in it; 255 is ignored pixels.

    Shape:
        image (H, W, 3); output (H', W', 3).
    """
    entries = [
        (IGNORED_NAME, (0, 0, 0), i) if i == IGNORED else (legible(names[i], i), palette[i], i)
        for i in sorted({int(i) for i in indices})
    ]
    legend = _draw(entries, max(image.shape[1], MIN_WIDTH))
    beside = ((0, 0), (0, legend.shape[1] - image.shape[1]), (0, 0))
    return np.concatenate([np.pad(image, beside, constant_values=PAPER), legend])


def _draw(entries: Sequence[tuple[str, Sequence[int], int]], width: int) -> Image:
    sizes = [text_size(name) for name, _, _ in entries]
    line = max([SWATCH, *(height for _, height in sizes)]) + 4
    before = SWATCH + MARGIN  # of a name
    inner = max(width - 2 * MARGIN, 1)
    column = min(before + max([0, *(length for length, _ in sizes)]) + 2 * MARGIN, inner)
    rows = -(-len(entries) // max(inner // column, 1))
    legend = np.full((rows * line + 2 * MARGIN if entries else 0, width, 3), PAPER, np.uint8)
    for i, (name, colour, index) in enumerate(entries):
        x, y = MARGIN + i // rows * column, MARGIN + i % rows * line
        top = y + (line - SWATCH) // 2
        _paint_swatch(legend[top : top + SWATCH, x : x + SWATCH], colour, index)
        place = (x + before, y + (line - sizes[i][1]) // 2)
        legend = draw_text(legend, name, place, colour=INK, max_width=column - before)
    return legend


def _paint_swatch(pixels: Image, colour: Sequence[int], index: int) -> None:
    pixels[:] = EDGE
    inside = pixels[1:-1, 1:-1]
    inside[:] = hatch(*inside.shape[:2]) if index == IGNORED else np.asarray(colour)
