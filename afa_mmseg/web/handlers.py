"""Event handlers of the page: images, classes, slider, clicks."""

import html
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import gradio as gr
import numpy as np

from ..apis.inferencer import WeakSegInferencer
from .uploads import Limits, read_upload
from .visit import Stages, Ties, Visit, look_at

START = '<p class="note">Drop an image on the left, or choose one of the examples.</p>'
PROBLEM = '<p class="problem">{}</p>'
TIES = '<h2>Affinity and attention of a pixel</h2><p>{}</p>'
CLICK = 'Click a pixel in any of the steps.'
#: Values of the outputs, or `gr.skip()`.
Answer = Union[tuple, dict]


class Handlers:
    """Event handlers; each method returns the values of the outputs of one event.

    Args:
        inferencer: With the network.
        limits: Of uploads.
    """

    def __init__(self, inferencer: WeakSegInferencer, limits: Limits) -> None:
        self.inferencer, self.limits = inferencer, limits

    def look(self, path: Optional[str], bkg_score: float) -> tuple:
        """Handle a new image: return visit, tick boxes, note, steps and legend, and clear the lower part."""
        if path is None:
            return empty_page(START)
        start = time.perf_counter()
        try:
            image, (file_height, file_width) = read_upload(path, self.limits)
            visit = look_at(self.inferencer, image)
        except ValueError as error:
            return empty_page(PROBLEM.format(html.escape(str(error))))
        height, width = image.shape[:2]
        made = '' if height == file_height else f', {width} × {height} for the network'
        seconds = time.perf_counter() - start
        note = f'<p class="note">{file_width} × {file_height} pixels{made}; took {seconds:.1f} s.</p>'
        return (visit, self.tick_boxes(visit), note, *self.redraw(visit, bkg_score), *no_ties())

    def redraw(self, visit: Visit, bkg_score: float) -> tuple:
        """Draw the steps, and the legend of their classes."""
        return (*visit.stages(bkg_score), self.legend(visit))

    def tick(self, visit: Optional[Visit], names: Sequence[str], bkg_score: float) -> Answer:
        """Handle a choice of classes."""
        if visit is None:
            return forgotten()
        visit = visit.with_classes([self.inferencer.class_names.index(name) for name in names])
        return (visit, *self.redraw(visit, bkg_score))

    def take_own(self, visit: Optional[Visit], bkg_score: float) -> Answer:
        """Choose the classes found by the classifier."""
        if visit is None:
            return forgotten()
        visit = visit.with_classes(visit.own_classes)
        return (visit, self.tick_boxes(visit), *self.redraw(visit, bkg_score))

    def slide(self, visit: Optional[Visit], bkg_score: float) -> Answer:
        """Handle the slider: draw the propagated CAM and the refined label."""
        return forgotten() if visit is None else visit.refined(bkg_score)

    def click(self, visit: Optional[Visit], event: gr.SelectData) -> Answer:
        """Handle a click on a drawn image; without affinity or attention, less of the lower part is filled."""
        if visit is None:
            return forgotten()
        column, row = (int(value) // visit.enlargement for value in event.index)
        ties = visit.ties(row, column)
        row, column = ties.point
        sentence = f'Row {row}, column {column}. Colours run from 0<span class="heat-bar"></span>to the largest value'
        if ties.affinity is not None:
            sentence += f', {ties.affinity.max():.2f} for the affinity'
        maps = () if ties.attention is None else ties.attention
        captions = [f'block {b + 1} · head {h + 1}' for b, count in enumerate(ties.heads) for h in range(count)]
        return (
            TIES.format(f'{sentence}.'),
            gr.Row(visible=True),
            None if ties.affinity is None else visit.draw_tie(ties.affinity, ties.point),
            [(visit.draw_tie(heat, ties.point), text) for heat, text in zip(maps, captions)],
            save_numbers(ties),
        )

    def tick_boxes(self, visit: Visit) -> gr.CheckboxGroup:
        """List the classes by probability, and tick the chosen ones."""
        names, scores = self.inferencer.class_names, visit.explanation.score.tolist()
        order = sorted(range(len(names)), key=lambda i: -scores[i])
        return gr.CheckboxGroup(
            choices=[(f'{names[i]}  {scores[i]:.0%}', names[i]) for i in order],
            value=[names[i] for i in visit.explanation.classes],
        )

    def legend(self, visit: Visit) -> str:
        """Return the legend of the drawn classes."""
        entries = (
            f'<span><i style="background: rgb{tuple(map(int, visit.palette[i]))}"></i>'
            f'{html.escape(self.inferencer.class_names[i - 1])}</span>'
            for i in visit.classes_shown()
        )
        return f'<div class="legend">{"".join(entries) or "<span>no class</span>"}</div>'


def empty_page(message: str) -> tuple:
    """Clear the page, with a message in place of the legend."""
    return (None, gr.CheckboxGroup(choices=[], value=[]), '', *[None] * len(Stages._fields), message, *no_ties())


def no_ties() -> tuple:
    """Clear the lower part of the page."""
    return TIES.format(CLICK), gr.Row(visible=False), None, [], None


def save_numbers(ties: Ties) -> str:
    """Write the drawn numbers to a file of the page's temporary folder, which is deleted at its end."""
    folder = tempfile.mkdtemp(prefix='ties-', dir=os.environ.get('GRADIO_TEMP_DIR'))
    path = Path(folder) / f'ties_{ties.point[0]}_{ties.point[1]}.npz'
    maps: dict[str, Any] = dict(affinity=ties.affinity, attention=ties.attention)
    maps = {name: x for name, x in maps.items() if x is not None}
    np.savez_compressed(path, point=ties.point, cell=ties.cell, **maps)
    return str(path)


def forgotten() -> dict:
    """Show a warning, and keep the page as it is."""
    gr.Warning('No image, or its session has ended to make room for others: drop it again.', title='No image')
    return gr.skip()
