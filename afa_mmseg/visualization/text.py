"""Text drawn on images by Pillow, in the fonts that matplotlib finds."""

from functools import cache
from typing import Optional

import numpy as np
from matplotlib import font_manager, ft2font
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from .overlays import Image

#: Letter height in pixels.
TEXT_SIZE = 13
WHITE = (255, 255, 255)
ELLIPSIS = '…'


def draw_text(
    image: Image,
    text: str,
    position: tuple[int, int],
    *,
    size: int = TEXT_SIZE,
    colour: tuple[int, int, int] = WHITE,
    max_width: Optional[int] = None,
) -> Image:
    """Draw a line of text, in any script, on a copy of an image; letters that no font has become boxes.

    Args:
        image: RGB.
        text: One line.
        position: Left and top of the line, in pixels.
        size: Letter height in pixels.
        colour: RGB.
        max_width: In pixels; longer text is cut with an ellipsis.
    """
    text = text if max_width is None else _fit(text, max_width, size)
    canvas = PILImage.fromarray(np.ascontiguousarray(image))
    ImageDraw.Draw(canvas).text(position, text, fill=tuple(colour), font=_font(text, size))
    return np.array(canvas)


def text_size(text: str, size: int = TEXT_SIZE) -> tuple[int, int]:
    """Return the width and height of a line of text, in pixels."""
    font = _font(text, size)
    return int(np.ceil(font.getlength(text))), sum(font.getmetrics())


def break_text(text: str, max_width: int, size: int = TEXT_SIZE) -> list[str]:
    """Break text wider than `max_width` pixels into two lines of similar width.

    Example:
        >>> break_text('CAM 97% dining table', 100)
        ['CAM 97%', 'dining table']
    """
    words = text.split(' ')
    if len(words) == 1 or text_size(text, size)[0] <= max_width:
        return [text]
    breaks = ([' '.join(words[:i]), ' '.join(words[i:])] for i in range(1, len(words)))
    return min(breaks, key=lambda lines: max(text_size(line, size)[0] for line in lines))


@cache
def font_file(text: str) -> str:
    """Return the first font with all letters of a text: DejaVu Sans, else one of the system, else DejaVu Sans."""
    default = str(font_manager.findfont('DejaVu Sans'))
    letters = {ord(letter) for letter in text if not letter.isspace()}
    if letters <= _letters(default):
        return default
    upright = [font for font in font_manager.fontManager.ttflist if font.style == 'normal']
    upright.sort(key=lambda font: ('Last Resort' in font.name, 'Sans' not in font.name, font.weight != 400))
    files = (font.fname for font in upright)
    return next((file for file in files if letters <= _letters(file)), default)


@cache
def _letters(file: str) -> frozenset[int]:
    return frozenset(ft2font.FT2Font(file).get_charmap())


@cache
def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(text), size)


def _fit(text: str, max_width: int, size: int) -> str:
    if text_size(text, size)[0] <= max_width:
        return text
    cuts = (text[:length].rstrip() + ELLIPSIS for length in range(len(text) - 1, 0, -1))
    return next((cut for cut in cuts if text_size(cut, size)[0] <= max_width), '')
