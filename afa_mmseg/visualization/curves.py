"""Plots of runs: losses, learning rate, validation, and the IoU of each class."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from ..utils import atomic_path
from .text import font_file
from .training_log import Curve, Run

#: Metrics of validation, and their titles.
METRICS = {
    'mIoU': 'segmentation',
    'cam/mIoU': 'CAM',
    'propagated_cam/mIoU': 'propagated CAM',
    'refined_cam/mIoU': 'refined CAM',
    'cls/f1': 'classifier (F1)',
}
#: Colours for any kind of colour vision (Okabe and Ito, 2008), without yellow; then other dashes and markers.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
DASHES, MARKERS = ('-', '--', ':', '-.'), ('o', 's', '^', 'D')
SUFFIXES = ('.png', '.svg')
STYLE: Any = {
    'axes.axisbelow': True,
    'axes.grid': True,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlelocation': 'left',
    'axes.titlesize': 10,
    'figure.dpi': 120,
    'font.size': 9,
    'grid.color': '#e6e6e6',
    'legend.frameon': False,
    'svg.hashsalt': 'afa_mmseg',  # the same file from the same log
}
#: Inches: of the figure, a row of panels, a row of classes or of the legend, the margins of the classes.
WIDTH, PANEL_HEIGHT, ROW_HEIGHT, MARGIN = 12.0, 2.7, 0.21, 0.75
#: Shorter curves have markers; longer ones are smoothed, over this share of their points.
MARKED_BELOW, SMOOTHED_FROM, WINDOW = 30, 80, 1 / 30


class Panel(NamedTuple):
    """Curves on one pair of axes, by label; losses are smoothed, percentages run from 0 to 100."""

    title: str
    curves: dict[str, Curve]
    is_percent: bool = False
    is_loss: bool = False


def draw_curves(runs: Sequence[Run]) -> Figure:
    """Draw runs: related quantities of a single run share a panel; of several runs each quantity has one.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError('no run to draw: name at least one')
    panels = [panel for panel in _panels(runs) if any(steps for steps, _ in panel.curves.values())]
    classes = list(dict.fromkeys(name for run in runs for name in run.class_iou))
    columns = len(panels) if len(panels) <= 3 else min((4, 3), key=lambda count: -len(panels) % count)
    upper = math.ceil(len(panels) / columns) * PANEL_HEIGHT + len(runs) * ROW_HEIGHT
    lower = math.ceil(len(classes) / _num_columns(classes)) * ROW_HEIGHT + MARGIN if classes else 0.0
    with rc_context({**STYLE, 'font.family': _families([*classes, *(run.name for run in runs)])}):
        figure = Figure(figsize=(WIDTH, upper + lower), layout='constrained')
        heights = [upper, lower] if classes else [upper]
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        _draw_panels(parts[0], panels, columns, is_labelled=len(runs) == 1)
        _draw_head(parts[0], runs)
        if classes:
            _draw_classes(parts[1], runs, classes)
    return figure


def save_curves(figure: Figure, files: Iterable[Union[str, Path]]) -> None:
    """Write a figure to files, each in the format of its suffix.

    Raises:
        ValueError: A suffix is neither `.png` nor `.svg`.
    """
    paths = list(map(Path, files))
    for file in paths:
        if file.suffix.lower() not in SUFFIXES:
            raise ValueError(f'{file}: the suffix of a plot must be {" or ".join(SUFFIXES)}')
    with rc_context(STYLE):
        for file in paths:
            with atomic_path(file) as temporary:
                figure.savefig(temporary, metadata=dict(Date=None) if file.suffix.lower() == '.svg' else None)


def smooth(values: ArrayLike, window: int) -> np.ndarray:
    """Return the moving mean of the finite values; windows are cut off at the ends.

    Example:
        >>> smooth([1.0, 2.0, 6.0, float('nan')], window=3).tolist()
        [1.5, 3.0, 4.0, 6.0]
    """
    data = np.asarray(values, dtype=float)
    known = np.isfinite(data)
    sums, counts = (np.convolve(x, np.ones(window), 'same') for x in (np.where(known, data, 0.0), known.astype(float)))
    return np.divide(sums, counts, out=np.full(len(data), math.nan), where=counts > 0)


def _panels(runs: Sequence[Run]) -> list[Panel]:
    if len(runs) == 1:
        (run,) = runs
        metrics = {
            f'{METRICS[key]}: {run.curves[key][1][-1]:.1f}': run.curves[key] for key in METRICS if key in run.curves
        }
        return [
            Panel('losses', {name: run.curves[name] for name in run.losses}, is_loss=True),
            Panel('validation (mIoU)', metrics, is_percent=True),
            Panel('learning rate', {'lr': run.curves['lr']} if 'lr' in run.curves else {}),
        ]

    def of_each(key: str) -> dict[str, Curve]:
        return {run.name: run.curves.get(key, ([], [])) for run in runs}

    losses = list(dict.fromkeys(name for run in runs for name in run.losses))
    return [
        *(Panel(key, of_each(key), is_loss=True) for key in losses),
        *(
            Panel(title if 'F1' in title else f'{title} (mIoU)', of_each(key), is_percent=True)
            for key, title in METRICS.items()
        ),
        Panel('learning rate', of_each('lr')),
    ]


def _line_style(number: int) -> dict[str, Any]:
    turn = number // len(COLOURS) % len(DASHES)
    return dict(color=COLOURS[number % len(COLOURS)], linestyle=DASHES[turn], marker=MARKERS[turn])


def _draw_panels(figure: SubFigure, panels: Sequence[Panel], columns: int, *, is_labelled: bool) -> None:
    rows = math.ceil(len(panels) / columns)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for place, (axes, panel) in enumerate(zip(grid, panels)):
        _draw_panel(axes, panel)
        is_lowest = place + columns >= len(panels)
        axes.tick_params(axis='x', labelbottom=is_lowest)
        axes.set_xlabel('iteration' if is_lowest else '')
        if is_labelled and len(panel.curves) > 1:
            axes.legend(fontsize=8, frameon=True, framealpha=0.8, edgecolor='none')
    for axes in grid[len(panels) :]:
        axes.remove()


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for number, (label, (steps, raw)) in enumerate(panel.curves.items()):
        values: ArrayLike = raw
        style = _line_style(number)
        if len(steps) >= MARKED_BELOW:
            style['marker'] = None
        if panel.is_loss and len(steps) >= SMOOTHED_FROM:
            axes.plot(steps, raw, color=style['color'], linewidth=0.6, alpha=0.25)
            values = smooth(raw, int(len(raw) * WINDOW))
        axes.plot(steps, values, markersize=4, label=label, **style)
    axes.set_title(panel.title, fontweight='bold')
    axes.set_xlim(left=0)
    axes.ticklabel_format(axis='y', scilimits=(-2, 4), useMathText=True)
    if panel.is_percent:
        axes.set_ylim(0, 102)


def _draw_head(figure: SubFigure, runs: Sequence[Run]) -> None:
    """Write the name and best mIoU of a single run, or a legend of several."""
    labels = [f'{run.name}: best mIoU {run.best[1]:.1f} at {run.best[0]}' if run.best else run.name for run in runs]
    if len(runs) == 1:
        figure.suptitle(labels[0], x=0.01, ha='left', fontsize=12, fontweight='bold')
        return
    lines = [Line2D([], [], **_line_style(number)) for number in range(len(runs))]
    figure.legend(lines, labels, loc='outside upper left', ncols=2 if max(map(len, labels)) < 80 else 1)


def _num_columns(classes: Sequence[str]) -> int:
    return next((columns for columns, most in ((1, 8), (2, 24), (3, 60)) if len(classes) <= most), 4)


def _draw_classes(figure: SubFigure, runs: Sequence[Run], classes: Sequence[str]) -> None:
    """Draw a row for each class, in columns, with a dot for each run."""
    columns = _num_columns(classes)
    rows = math.ceil(len(classes) / columns)
    figure.suptitle('IoU of each class at the best checkpoint (%)', x=0.01, ha='left', fontsize=10, fontweight='bold')
    for start, axes in zip(range(0, len(classes), rows), figure.subplots(1, columns, squeeze=False).flat):
        own = classes[start : start + rows]
        for number, run in enumerate(runs):
            style = _line_style(number)
            values = [run.class_iou.get(name, math.nan) for name in own]
            axes.plot(values, range(len(own)), style['marker'], color=style['color'], markersize=5, clip_on=False)
            if len(runs) == 1:
                axes.hlines(range(len(own)), 0, values, color='#cccccc', linewidth=2.5, zorder=1)
                _write_values(axes, values)
        axes.set_yticks(range(len(own)), own)
        axes.set(xlim=(0, 100), ylim=(rows - 0.4, -0.6))
        axes.grid(axis='y', visible=len(runs) > 1)


def _write_values(axes: Axes, values: Sequence[float]) -> None:
    """Write each value beside its dot, on the side with room."""
    for row, value in enumerate(values):
        text = 'no pixel' if math.isnan(value) else f'{value:.1f}'
        left = value < 85 or math.isnan(value)
        axes.annotate(
            text, (0 if math.isnan(value) else value, row), (7 if left else -7, 0), textcoords='offset points',
            ha='left' if left else 'right', va='center', fontsize=8,
            bbox=dict(facecolor='white', edgecolor='none', pad=0.6),
        )  # fmt: skip


def _families(texts: Iterable[str]) -> list[str]:
    """List the font families of some texts; matplotlib takes each letter from the first one that has it."""
    files = dict.fromkeys([font_file(''), *map(font_file, texts)])
    return [font_manager.FontProperties(fname=file).get_name() for file in files]
