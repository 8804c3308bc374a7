"""Text drawn on images by Pillow, in the fonts that matplotlib finds."""

from functools import cache, lru_cache

import numpy as np
from matplotlib import font_manager, ft2font
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from .overlays import Image

#: Letter height in pixels.
TEXT_SIZE = 13
WHITE = (255, 255, 255)


def draw_text(image: Image, text: str, position: tuple[int, int], colour: tuple[int, int, int] = WHITE) -> Image:
    """Draw a line of text, in any script, on a copy of an image; letters that no font has become boxes.

    Args:
        image: RGB; text beyond its edge is cut off.
        text: One line.
        position: Left and top of the line, in pixels.
        colour: RGB.
    """
    canvas = PILImage.fromarray(np.ascontiguousarray(image))
    ImageDraw.Draw(canvas).text(position, text, fill=tuple(colour), font=_font_in(font_file(text)))
    return np.array(canvas)


def text_size(text: str) -> tuple[int, int]:
    """Return the width and height of a line of text, in pixels."""
    font = _font_in(font_file(text))
    return int(np.ceil(font.getlength(text))), sum(font.getmetrics())


def break_text(text: str, max_width: int) -> list[str]:
    """Break text wider than `max_width` pixels into two lines of similar width.

    Example:
        >>> break_text('CAM 97% dining table', 100)
        ['CAM 97%', 'dining table']
    """
    words = text.split(' ')
    if len(words) == 1 or text_size(text)[0] <= max_width:
        return [text]
    breaks = ([' '.join(words[:i]), ' '.join(words[i:])] for i in range(1, len(words)))
    return min(breaks, key=lambda lines: max(text_size(line)[0] for line in lines))


@lru_cache(maxsize=1024)
def font_file(text: str) -> str:
    """Return the first font with all letters of a text: DejaVu Sans, else one of the system, else DejaVu Sans."""
    default = str(font_manager.findfont('DejaVu Sans'))
    letters = {ord(letter) for letter in text if not letter.isspace()}
    upright = [font for font in font_manager.fontManager.ttflist if font.style == 'normal']
    upright.sort(key=lambda font: ('Last Resort' in font.name, 'Sans' not in font.name, font.weight != 400))
    files = (default, *(font.fname for font in upright))
    return next((file for file in files if letters <= _letters(file)), default)


@cache
def _letters(file: str) -> frozenset[int]:
    return frozenset(ft2font.FT2Font(file).get_charmap())


@cache
def _font_in(file: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, TEXT_SIZE)
