"""Plots of runs: losses, learning rate and validation."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..evaluation.iou_metrics import TITLES
from ..utils import atomic_path
from .training_log import Curve, Run

#: Metrics of validation, and their titles.
METRICS = {
    'mIoU': 'segmentation',
    **{f'{field.removeprefix("pred_")}/mIoU': title for field, title in TITLES.items()},
    'cls/f1': 'classifier (F1)',
}
#: Shares of pixels in pseudo-labels.
SHARES = {'ignored_share': 'ignored', 'foreground_share': 'foreground'}
#: Colours for any kind of colour vision (Okabe and Ito, 2008), without yellow; then other dashes.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
DASHES = ('-', '--', ':', '-.')
SUFFIXES = ('.png', '.svg')
STYLE: Any = {
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
#: Inches: of the figure, a row of panels, a row of the legend.
WIDTH, PANEL_HEIGHT, ROW_HEIGHT = 12.0, 2.7, 0.21
#: Panels in a row.
COLUMNS = 3
#: Shorter curves have markers; longer losses are smoothed, over this share of their points.
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
    all_panels = _panels_of(runs[0]) if len(runs) == 1 else _panels_of_several(runs)
    panels = [panel for panel in all_panels if any(steps for steps, _ in panel.curves.values())]
    columns = min(len(panels), COLUMNS)
    rows = math.ceil(len(panels) / columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, rows * PANEL_HEIGHT + len(runs) * ROW_HEIGHT), layout='constrained')
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, columns, place)
            _draw_panel(axes, panel)
            if len(runs) == 1 < len(panel.curves):
                axes.legend(fontsize=8, frameon=True, framealpha=0.8, edgecolor='none')
        _draw_head(figure, runs)
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


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """Return the moving mean of the finite values; windows are cut off at the ends.

    Example:
        >>> smooth([1.0, 2.0, 6.0, float('nan')], window=3).tolist()
        [1.5, 3.0, 4.0, 6.0]
    """
    data = np.asarray(values, dtype=float)
    known = np.isfinite(data)
    sums, counts = (np.convolve(x, np.ones(window), 'same') for x in (np.where(known, data, 0.0), known.astype(float)))
    return np.divide(sums, counts, out=np.full(len(data), math.nan), where=counts > 0)


def _panels_of(run: Run) -> list[Panel]:
    metrics = {f'{METRICS[key]}: {run.curves[key][1][-1]:.1f}': run.curves[key] for key in METRICS if key in run.curves}
    return [
        Panel('losses', {name: run.curves[name] for name in run.losses}, is_loss=True),
        Panel('validation (mIoU)', metrics, is_percent=True),
        Panel('pseudo-labels (share of pixels)', {SHARES[key]: run.curves[key] for key in SHARES if key in run.curves}),
        Panel('learning rate', {'lr': run.curves['lr']} if 'lr' in run.curves else {}),
    ]


def _panels_of_several(runs: Sequence[Run]) -> list[Panel]:
    def of_each(key: str) -> dict[str, Curve]:
        return {run.name: run.curves.get(key, ([], [])) for run in runs}

    losses = dict.fromkeys(name for run in runs for name in run.losses)
    titles = {key: title if 'F1' in title else f'{title} (mIoU)' for key, title in METRICS.items()}
    return [
        *(Panel(key, of_each(key), is_loss=True) for key in losses),
        *(Panel(title, of_each(key), is_percent=True) for key, title in titles.items()),
        *(Panel(f'{title} (share of pixels)', of_each(key)) for key, title in SHARES.items()),
        Panel('learning rate', of_each('lr')),
    ]


def _line_style(number: int) -> dict[str, Any]:
    return dict(color=COLOURS[number % len(COLOURS)], linestyle=DASHES[number // len(COLOURS) % len(DASHES)])


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for number, (label, (steps, values)) in enumerate(panel.curves.items()):
        style = dict(_line_style(number), marker='o' if len(steps) < MARKED_BELOW else None)
        drawn: Any = values
        if panel.is_loss and len(steps) >= SMOOTHED_FROM:
            axes.plot(steps, values, color=style['color'], linewidth=0.6, alpha=0.25)
            drawn = smooth(values, int(len(values) * WINDOW))
        axes.plot(steps, drawn, markersize=4, label=label, **style)
    axes.set_title(panel.title, fontweight='bold')
    axes.set_xlabel('iteration')
    axes.set_xlim(left=0)
    axes.ticklabel_format(axis='y', scilimits=(-2, 4), useMathText=True)
    if panel.is_percent:
        axes.set_ylim(0, 102)


def _draw_head(figure: Figure, runs: Sequence[Run]) -> None:
    """Write the name and best mIoU of a single run, or a legend of several."""
    labels = [f'{run.name}: best mIoU {run.best[1]:.1f} at {run.best[0]}' if run.best else run.name for run in runs]
    if len(runs) == 1:
        figure.suptitle(labels[0], x=0.01, ha='left', fontsize=12, fontweight='bold')
        return
    lines = [Line2D([], [], **_line_style(number)) for number in range(len(runs))]
    figure.legend(lines, labels, loc='outside upper left', ncols=2 if max(map(len, labels)) < 80 else 1)
