"""Curves of one training or several: losses, learning rate, validation, and the IoU of each class."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import ArrayLike

from ..utils import atomic_path
from .text import default_font, font_file, legible, text_size
from .training_log import Curve, Run

#: What validation reports, and what plots call it.
FIGURES = {
    'mIoU': 'segmentation',
    'cam/mIoU': 'CAM',
    'propagated_cam/mIoU': 'propagated CAM',
    'refined_cam/mIoU': 'refined CAM',
    'cls/f1-score': 'classifier (F1)',
}
#: Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008), without yellow.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
#: Taken in turn when the colours are used up.
DASHES, MARKERS = ('-', '--', ':', '-.'), ('o', 's', '^', 'D')
SUFFIXES = ('.png', '.svg')
FONT_SIZE = 9
STYLE: Any = {  # of matplotlib
    'axes.axisbelow': True,
    'axes.edgecolor': '#999999',
    'axes.grid': True,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlelocation': 'left',
    'axes.titlesize': 10.5,
    'axes.titleweight': 'bold',
    'figure.dpi': 120,
    'font.size': FONT_SIZE,
    'grid.color': '#e6e6e6',
    'legend.frameon': False,
    'svg.hashsalt': 'afa_mmseg',  # the same file from the same log
    'xtick.color': '#444444',
    'ytick.color': '#444444',
}
#: Inches.
WIDTH, PANEL_HEIGHT, ROW_HEIGHT, MARGIN, LEGEND_HANDLE = 12.0, 2.7, 0.21, 0.75, 0.8
#: Curves of fewer points have markers; of more, a moving mean over this part of them.
MARKED_BELOW, SMOOTHED_FROM, WINDOW = 30, 80, 1 / 30
#: In a panel of more curves, single points are not drawn behind the mean.
MAX_FAINT = 4
#: Letters of a run's name.
MAX_NAME = 60
SUPERSCRIPTS = str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹')


class Panel(NamedTuple):
    """Curves on one pair of axes.

    Args:
        title: Above the axes.
        curves: By label; the one at place i has the i-th style.
        is_percent: Whether values are percentages.
        is_noisy: Whether long curves are smoothed.
        is_labelled: Whether the labels stand in the panel.
    """

    title: str
    curves: dict[str, Curve]
    is_percent: bool = False
    is_noisy: bool = False
    is_labelled: bool = False


def draw_curves(runs: Sequence[Run]) -> Figure:
    """Draw trainings: of one, related quantities share a panel; of several, each quantity has one.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError('no training to draw: give at least one')
    panels = _panels_of_one(runs[0]) if len(runs) == 1 else _panels_of_several(runs)
    names = _class_names(runs)
    columns = _panel_columns(len(panels))
    rows = math.ceil(len(panels) / columns)
    upper = rows * PANEL_HEIGHT + math.ceil(len(runs) / _legend_columns(runs)) * ROW_HEIGHT
    lower = math.ceil(len(names) / _class_columns(names)) * ROW_HEIGHT + MARGIN if names else 0.0
    with rc_context({**STYLE, 'font.family': _fonts([*names, *(run.name for run in runs)])}):
        figure = Figure(figsize=(WIDTH, upper + lower), layout='constrained')
        figure.set_layout_engine('constrained', w_pad=0.1, h_pad=0.06)
        heights = [upper, lower] if names else [upper]
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        grid = list(parts[0].subplots(rows, columns, squeeze=False, sharex=True).flat)
        for place, (axes, panel) in enumerate(zip(grid, panels)):
            _draw_panel(axes, panel)
            is_lowest = place + columns >= len(panels)
            axes.tick_params(axis='x', labelbottom=is_lowest)
            axes.set_xlabel('iteration' if is_lowest else '')
        for axes in grid[len(panels) :]:
            axes.remove()
        _draw_head(parts[0], runs)
        if names:
            _draw_classes(parts[1], runs, names)
    return figure


def save_curves(figure: Figure, files: Iterable[Union[str, Path]]) -> None:
    """Write a figure to files, each in the format of its suffix.

    Raises:
        ValueError: A suffix is neither that of PNG nor that of SVG.
    """
    paths = list(map(Path, files))
    for file in paths:
        if file.suffix.lower() not in SUFFIXES:
            raise ValueError(f'{file}: plots are written as {" or ".join(SUFFIXES)}')
    with rc_context(STYLE):
        for file in paths:
            with atomic_path(file) as temporary:
                figure.savefig(temporary, metadata=dict(Date=None) if file.suffix.lower() == '.svg' else None)


def smooth(values: ArrayLike, window: int) -> np.ndarray:
    """Average each value with its neighbours; windows are cut off at the ends, and what is not finite is left out.

    Example:
        >>> smooth([1.0, 2.0, 6.0, float('nan')], window=3).tolist()
        [1.5, 3.0, 4.0, 6.0]
    """
    data = np.asarray(values, dtype=float)
    known = np.isfinite(data)
    sums, counts = (np.convolve(x, np.ones(window), 'same') for x in (np.where(known, data, 0.0), known.astype(float)))
    return np.divide(sums, counts, out=np.full(len(data), math.nan), where=counts > 0)


def line_style(number: int) -> dict[str, Any]:
    """Give each curve of a plot another colour, then other dashes and markers."""
    turn = number // len(COLOURS) % len(DASHES)
    return dict(color=COLOURS[number % len(COLOURS)], linestyle=DASHES[turn], marker=MARKERS[turn])


# What is drawn where


def _panels_of_one(run: Run) -> list[Panel]:
    figures = {f'{FIGURES[key]}: {run.curves[key][1][-1]:.1f}': run.curves[key] for key in FIGURES if key in run.curves}
    panels = [
        Panel('losses', {name: run.curves[name] for name in run.losses}, is_noisy=True, is_labelled=True),
        Panel('validation (mIoU)', figures, is_percent=True, is_labelled=True),
        Panel('learning rate', {'lr': run.curves['lr']} if 'lr' in run.curves else {}),
    ]
    return [panel for panel in panels if panel.curves]


def _panels_of_several(runs: Sequence[Run]) -> list[Panel]:
    losses = list(dict.fromkeys(name for run in runs for name in run.losses))
    panels = [Panel(key, _of_each(runs, key), is_noisy=True) for key in losses]
    panels += [
        Panel(title if 'F1' in title else f'{title} (mIoU)', _of_each(runs, key), is_percent=True)
        for key, title in FIGURES.items()
    ]
    panels.append(Panel('learning rate', _of_each(runs, 'lr')))
    return [panel for panel in panels if any(steps for steps, _ in panel.curves.values())]


def _of_each(runs: Sequence[Run], key: str) -> dict[str, Curve]:
    return {run.name: run.curves.get(key, ([], [])) for run in runs}


def _class_names(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.class_iou))


def _class_columns(names: Sequence[str]) -> int:
    return next((columns for columns, most in ((1, 8), (2, 24), (3, 60)) if len(names) <= most), 4)


# Drawing


def _draw_panel(axes: Axes, panel: Panel) -> None:
    exponent = 0 if panel.is_percent else _exponent(panel)
    for number, (label, (steps, values)) in enumerate(panel.curves.items()):
        scaled, style = np.asarray(values) / 10.0**exponent, line_style(number)
        if len(steps) >= MARKED_BELOW:
            style['marker'] = None
        if panel.is_noisy and len(steps) >= SMOOTHED_FROM:
            if len(panel.curves) <= MAX_FAINT:
                axes.plot(steps, scaled, color=style['color'], linewidth=0.6, alpha=0.35)
            scaled = smooth(scaled, int(len(scaled) * WINDOW))
        axes.plot(steps, scaled, markersize=4, label=label, **style)
    power = f' (×10{str(exponent).translate(SUPERSCRIPTS)})' if exponent else ''
    axes.set_title(panel.title + power)
    axes.margins(y=0.08)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=(1, 2, 2.5, 5, 10)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    if panel.is_percent:
        axes.set_ylim(0, 102)
        axes.yaxis.set_major_formatter('{x:.0f} %')
    if panel.is_labelled:
        axes.legend(fontsize=8, handlelength=2, loc='upper left', bbox_to_anchor=(1, 1), borderaxespad=0)


def _exponent(panel: Panel) -> int:
    """Give the power of ten that small or large values are written in."""
    largest = max(
        (abs(value) for _, values in panel.curves.values() for value in values if math.isfinite(value)), default=0
    )
    exponent = math.floor(math.log10(largest)) if largest else 0
    return exponent if not -2 < exponent < 4 else 0


def _panel_columns(count: int) -> int:
    """Put up to three panels in a row, more in rows of three or four, whichever leaves fewer gaps."""
    return count if count <= 3 else min((4, 3), key=lambda columns: -count % columns)


def _draw_head(figure: SubFigure, runs: Sequence[Run]) -> None:
    """Name the run above its plots; of several, with a legend."""
    if len(runs) == 1:
        figure.suptitle(_describe(runs[0]), x=0.008, ha='left', fontsize=12.5, fontweight='bold')
        return
    handles = [Line2D([], [], label=_describe(run), markersize=5, **line_style(i)) for i, run in enumerate(runs)]
    figure.legend(handles=handles, loc='outside upper left', ncols=_legend_columns(runs), handlelength=3)


def _describe(run: Run) -> str:
    name = legible(run.name if len(run.name) <= MAX_NAME else f'…{run.name[1 - MAX_NAME :]}')
    return f'{name}: best mIoU {run.best[1]:.1f} at iteration {run.best[0]}' if run.best else name


def _legend_columns(runs: Sequence[Run]) -> int:
    points = max(text_size(_describe(run), 100)[0] for run in runs) / 100 * FONT_SIZE
    return max(1, min(len(runs), int(WIDTH / (points / 72 + LEGEND_HANDLE))))


def _draw_classes(figure: SubFigure, runs: Sequence[Run], names: Sequence[str]) -> None:
    """Draw a row of dots for each class, one for each run, in as many columns as there is room for."""
    columns = _class_columns(names)
    rows = math.ceil(len(names) / columns)
    figure.suptitle('IoU of each class at the best checkpoint', x=0.008, ha='left', fontsize=10.5, fontweight='bold')
    for start, axes in zip(range(0, len(names), rows), figure.subplots(1, columns, squeeze=False).flat):
        own = names[start : start + rows]
        for row, name in enumerate(own):
            _draw_class(axes, row, [run.class_iou.get(name, math.nan) for run in runs])
        axes.set_yticks(range(len(own)), [legible(name, start + row) for row, name in enumerate(own)])
        axes.set(xlim=(0, 100), ylim=(rows - 0.4, -0.6))
        axes.xaxis.set_major_formatter('{x:.0f} %')
        axes.tick_params(axis='y', length=0)
        axes.grid(axis='y', visible=False)


def _draw_class(axes: Axes, row: int, values: Sequence[float]) -> None:
    known = [value for value in values if not math.isnan(value)]
    left = 0.0 if len(values) == 1 else min(known, default=0.0)
    right = max(known, default=0.0)
    axes.plot([left, right], [row, row], color='#cccccc', linewidth=2.5, solid_capstyle='butt', zorder=1)
    for number, value in enumerate(values):
        style = line_style(number)
        axes.plot(value, row, style['marker'], color=style['color'], markersize=5.5, clip_on=False)
    if len(values) == 1:
        # Beside the dot, on the side where there is room.
        offset, alignment = ((7, 0), 'left') if right < 90 else ((-7, 0), 'right')
        text = f'{right:.1f}' if known else 'no pixel'
        box = dict(facecolor='white', edgecolor='none', pad=0.6)
        axes.annotate(
            text, (right, row), offset, textcoords='offset points', ha=alignment, va='center', fontsize=8, bbox=box
        )


def _fonts(texts: Iterable[str]) -> list[str]:
    """List families of fonts that together have all characters; matplotlib goes through them for each one."""
    files = dict.fromkeys([default_font(), *(font_file(character) for text in texts for character in text)])
    families = []
    for file in filter(None, files):
        font_manager.fontManager.addfont(file)
        families.append(font_manager.FontProperties(fname=file).get_name())
    return families
