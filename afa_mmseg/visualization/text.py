"""Text on pictures, in whatever script class names are written."""

import os
import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from .overlays import Image

#: Height of letters in pixels.
TEXT_SIZE = 13
WHITE = (255, 255, 255)
ELLIPSIS = '…'
#: Debian's package for what begins a character's Unicode name; the last one has most scripts.
PACKAGES = {
    ('CJK', 'HIRAGANA', 'KATAKANA', 'HANGUL', 'FULLWIDTH', 'IDEOGRAPHIC'): 'fonts-noto-cjk',
    ('',): 'fonts-noto-core',
}
#: Packages that were named in a warning already.
_warned: set[str] = set()
#: Unicode categories of characters that belong to the one before: marks, joiners, spaces.
ATTACHED = ('M', 'Cf', 'Z')


class Run(NamedTuple):
    """Characters that one font draws."""

    text: str
    font: ImageFont.FreeTypeFont


def text_size(text: str, size: int = TEXT_SIZE) -> tuple[int, int]:
    """Measure a line of text: width and height in pixels."""
    runs = list(_runs(legible(text), size))
    ascent, descent = _extent(runs, size)
    return int(np.ceil(sum(run.font.getlength(run.text) for run in runs))), ascent + descent


def draw_text(
    image: Image,
    text: str,
    position: tuple[int, int],
    *,
    size: int = TEXT_SIZE,
    colour: tuple[int, int, int] = WHITE,
    max_width: Optional[int] = None,
) -> Image:
    """Write a line of text on a copy of an image.

    Args:
        image: The picture.
        text: In any script; see `legible` for what no font here has.
        position: Left and top end of the line, in pixels.
        size: Height of the letters in pixels.
        colour: RGB.
        max_width: Longer text ends in an ellipsis; in pixels.
    """
    text = legible(text) if max_width is None else fit_text(text, max_width, size)
    canvas = PILImage.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    runs = list(_runs(text, size))
    x, baseline = float(position[0]), position[1] + _extent(runs, size)[0]
    for run in runs:
        draw.text((x, baseline), run.text, fill=tuple(colour), font=run.font, anchor='ls')
        x += run.font.getlength(run.text)
    return np.array(canvas)


def fit_text(text: str, max_width: int, size: int = TEXT_SIZE) -> str:
    """Cut text that is wider than `max_width` pixels, with an ellipsis at its end."""
    text = legible(text)
    if text_size(text, size)[0] <= max_width:
        return text
    cuts = (text[:length].rstrip() + ELLIPSIS for length in range(len(text) - 1, 0, -1))
    return next((cut for cut in cuts if text_size(cut, size)[0] <= max_width), '')


def break_text(text: str, max_width: int, size: int = TEXT_SIZE) -> list[str]:
    """Break text that is wider than `max_width` pixels into two lines, at the space that makes them most alike.

    Example:
        >>> break_text('CAM 97% dining table', 100)
        ['CAM 97%', 'dining table']
    """
    words = text.split(' ')
    if len(words) == 1 or text_size(text, size)[0] <= max_width:
        return [text]
    breaks = ([' '.join(words[:i]), ' '.join(words[i:])] for i in range(1, len(words)))
    return min(breaks, key=lambda lines: max(text_size(line, size)[0] for line in lines))


def legible(text: str, index: Optional[int] = None) -> str:
    """Keep what some font of this machine can draw, and put a question mark for the rest.

    Warns once of each script without a font, and says what to install.

    Args:
        text: A class name, for instance.
        index: Number of the class, which then stands beside an incomplete name, or for a missing one.

    Example:
        >>> legible('кошка')
        'кошка'
    """
    drawable = _drawable(text)
    if all(drawable):
        return text
    _warn_of(text[drawable.index(False)])
    parts = (''.join(c for c, _ in run) if kept else '?' for kept, run in groupby(zip(text, drawable), lambda x: x[1]))
    kept = ''.join(parts)
    if index is None:
        return kept
    return f'{kept} #{index}' if kept.strip(' ?') else f'#{index}'


def _drawable(text: str) -> list[bool]:
    """Tell which characters some font has; marks go with their letter, spaces are always there."""
    out: list[bool] = []
    for character in text:
        if _attaches(character):
            out.append(character.isspace() or not out or out[-1])
        else:
            out.append(font_file(character) is not None)
    return out


def _attaches(character: str) -> bool:
    return unicodedata.category(character).startswith(ATTACHED)


def _runs(text: str, size: int) -> Iterator[Run]:
    """Split text where another font has to take over; marks stay with their letter."""
    file, start = default_font(), 0
    for i, character in enumerate(text):
        own = file if _attaches(character) else font_file(character) or default_font()
        if own != file:
            if i > start:
                yield Run(text[start:i], _load(file, size))
            file, start = own, i
    if text[start:]:
        yield Run(text[start:], _load(file, size))


def _extent(runs: list[Run], size: int) -> tuple[int, int]:
    """Pixels above and below the base line; the default font's at least."""
    metrics = [run.font.getmetrics() for run in (*runs, Run('', _load(default_font(), size)))]
    return max(ascent for ascent, _ in metrics), max(descent for _, descent in metrics)


@lru_cache(maxsize=1)
def default_font() -> str:
    """DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and more."""
    import matplotlib

    return os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')


@cache
def font_file(character: str) -> Optional[str]:
    """Find a font that has a character: the default one, else the first of this machine's, else None."""
    files = (default_font(), *system_fonts()) if ord(character) not in _characters(default_font()) else [default_font()]
    return next((file for file in files if ord(character) in _characters(file)), None)


@lru_cache(maxsize=1)
def system_fonts() -> tuple[str, ...]:
    """Font files of this machine, upright sans serif ones first."""
    from matplotlib import font_manager

    def rank(file: str) -> tuple:
        name = os.path.basename(file).lower()
        return 'sans' not in name, 'regular' not in name, 'italic' in name or 'oblique' in name, file

    return tuple(sorted(font_manager.findSystemFonts(), key=rank))


@cache
def _characters(file: str) -> frozenset[int]:
    """Read which characters a font has; none where it cannot be read or has no outlines to scale."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=64)
def _load(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _package(character: str) -> str:
    name = unicodedata.name(character, '')
    return next(package for starts, package in PACKAGES.items() if name.startswith(starts))


def _warn_of(character: str) -> None:
    """Warn of a missing font, once for each that is missing."""
    package = _package(character)
    if package in _warned:
        return
    _warned.add(package)
    warnings.warn(
        f'no font of this machine has {character!r} ({unicodedata.name(character, "unknown")}), so class numbers are '
        f"drawn in place of such names. Install one, such as Debian's {package}, or put a font file into "
        '~/.local/share/fonts',
        stacklevel=3,
    )
