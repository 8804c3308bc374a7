"""A bar for each class."""

import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Union

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.ticker import MaxNLocator

from ...utils import atomic_path

#: Inches: height of a class, what title and axis take, and the width.
ROW, MARGIN, WIDTH = 0.2, 1.0, 7.0
#: Longer names are cut; the report has them in full.
MAX_LETTERS = 32


def draw_histogram(counts: dict[str, dict[str, int]], path: Union[str, Path]) -> bool:
    """Draw how many pictures show each class, by split, as PNG; tell whether the file changed.

    A name that no installed font can write becomes `class` and its index.

    Args:
        counts: Pictures of each class, by split.
        path: Of the PNG.
    """
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    figure = Figure(figsize=(WIDTH, MARGIN + ROW * len(names)), dpi=100, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    thickness = 0.8 / len(counts)
    for number, (split, of_class) in enumerate(counts.items()):
        rows = [index + (number + 0.5) * thickness - 0.4 for index in range(len(names))]
        axes.barh(rows, [of_class.get(name, 0) for name in names], thickness, label=split)
    for row, name in enumerate(names):
        values = [of_class.get(name, 0) for of_class in counts.values()]
        axes.annotate(' / '.join(map(str, values)), (max(values), row), (3, 0), 'data', 'offset points', va='center')
    texts, fonts = zip(*(_writable(name, index) for index, name in enumerate(names, 1)))
    axes.set_yticks(range(len(names)), texts, parse_math=False)
    for label, font in zip(axes.get_yticklabels(), fonts):
        label.set_fontproperties(font)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel('pictures')
    axes.spines[['top', 'right']].set_visible(False)
    for text in (*axes.get_yticklabels(), *axes.texts):
        text.set_fontsize(8)
    if len(counts) > 1:
        figure.legend(loc='outside upper right', ncols=len(counts), frameon=False)
    return _save(figure, Path(path))


def _writable(name: str, index: int) -> tuple[str, Path]:
    """Choose a text for a class, and the file of a font that has its letters."""
    name = unicodedata.normalize('NFC', name)
    text = name if len(name) <= MAX_LETTERS else f'{name[: MAX_LETTERS - 1]}\u2026'
    default = findfont('DejaVu Sans')
    fonts = [default] if text.isascii() else [default, *_fonts()]
    if not any(_needs_shaping(letter) for letter in text):
        for font in fonts:
            if all(get_font(font).get_char_index(ord(letter)) for letter in text):
                return text, Path(font)
    return f'class {index}', Path(default)


def _fonts() -> Sequence[str]:
    plain = [entry for entry in fontManager.ttflist if entry.style == 'normal' and entry.weight == 400]
    # A font of last resort has a box for every letter.
    return sorted({entry.fname for entry in plain if not entry.name.startswith('Last Resort')})


def _needs_shaping(letter: str) -> bool:
    """Tell letters that depend on their neighbours: not every version of matplotlib writes those."""
    return unicodedata.bidirectional(letter) in ('R', 'AL') or unicodedata.category(letter) in ('Mn', 'Mc')


def _save(figure: Figure, path: Path) -> bool:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', metadata={'Software': None})
    if path.is_file() and path.read_bytes() == buffer.getvalue():
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return True
