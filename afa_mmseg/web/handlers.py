"""What happens on the page: pictures, ticks, the slider and clicks, each with its answer."""

import html
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import gradio as gr
import numpy as np

from ..apis.inferencer import WeakSegInferencer
from .uploads import Limits, read_upload
from .visit import Stages, Ties, Visit, look_at

START = '<p class="note">Drop a picture on the left, or take one of the examples.</p>'
#: Values of the outputs, or that they stay.
Answer = Union[tuple, dict]
PROBLEM = '<p class="problem">{}</p>'
TIES = """
<h2>What a pixel is tied to</h2>
<p>{}</p>
"""
CLICK = 'Click a pixel in any of the pictures.'


class Handlers:
    """What happens on the page: each method answers one kind of event.

    Args:
        inferencer: With the network.
        limits: Of what visitors upload.
    """

    def __init__(self, inferencer: WeakSegInferencer, limits: Limits) -> None:
        self.inferencer, self.limits = inferencer, limits

    def look(self, path: Optional[str], bkg_score: float) -> tuple:
        """Answer a new picture: the visit, tick boxes, a note, the steps and their legend; what is below is emptied."""
        if path is None:
            return empty_page(START)
        start = time.perf_counter()
        try:
            visit = look_at(self.inferencer, *read_upload(path, self.limits))
        except ValueError as error:
            return empty_page(PROBLEM.format(html.escape(str(error))))
        note = describe(visit, time.perf_counter() - start)
        return (visit, self.tick_boxes(visit), note, *self.redraw(visit, bkg_score), *no_ties())

    def redraw(self, visit: Visit, bkg_score: float) -> tuple:
        """Draw the steps, and the legend of the classes in them."""
        return (*visit.stages(bkg_score), self.legend(visit))

    def tick(self, visit: Optional[Visit], names: Sequence[str], bkg_score: float) -> Answer:
        """Answer ticked classes."""
        if visit is None:
            return forgotten()
        visit = visit.with_classes([self.inferencer.class_names.index(name) for name in names])
        return (visit, *self.redraw(visit, bkg_score))

    def take_own(self, visit: Optional[Visit], bkg_score: float) -> Answer:
        """Tick the classes that the classifier sees."""
        if visit is None:
            return forgotten()
        visit = visit.with_classes(visit.own_classes)
        return (visit, self.tick_boxes(visit), *self.redraw(visit, bkg_score))

    def slide(self, visit: Optional[Visit], bkg_score: float) -> Answer:
        """Answer the slider: draw the propagated CAM and the refined label."""
        return forgotten() if visit is None else visit.spread(bkg_score)

    def click(self, visit: Optional[Visit], event: gr.SelectData) -> Answer:
        """Answer a click on one of the drawn pictures."""
        if visit is None:
            return forgotten()
        column, row = (int(value) // visit.enlargement for value in event.index)
        return show_ties(visit, row, column)

    def click_upload(self, visit: Optional[Visit], event: gr.SelectData) -> Answer:
        """Answer a click on the uploaded picture, which has the size of its file."""
        if visit is None:
            return forgotten()
        column, row = event.index
        height, width = visit.picture.shape[:2]
        return show_ties(
            visit, int((row + 0.5) / visit.file_size[0] * height), int((column + 0.5) / visit.file_size[1] * width)
        )

    def tick_boxes(self, visit: Visit) -> gr.CheckboxGroup:
        """List the classes with their probabilities, the likeliest first; tick those that the visit takes."""
        names, scores = self.inferencer.class_names, visit.explanation.score.tolist()
        order = sorted(range(len(names)), key=lambda i: -scores[i])
        return gr.CheckboxGroup(
            choices=[(f'{names[i]}  {scores[i]:.0%}', names[i]) for i in order],
            value=[names[i] for i in visit.explanation.classes],
        )

    def legend(self, visit: Visit) -> str:
        """Name the colours of the classes that the pictures show."""
        entries = (
            f'<span><i style="background: rgb{tuple(map(int, visit.palette[i]))}"></i>'
            f'{html.escape(self.inferencer.class_names[i - 1])}</span>'
            for i in visit.classes_shown()
        )
        return f'<div class="legend">{"".join(entries) or "<span>no class</span>"}</div>'


def empty_page(message: str) -> tuple:
    """Answer no picture, or one that cannot be shown; the message stands where the legend would."""
    return (None, gr.CheckboxGroup(choices=[], value=[]), '', *[None] * len(Stages._fields), message, *no_ties())


def show_ties(visit: Visit, row: int, column: int) -> tuple:
    """Fill the lower part of the page: sentence, affinity, heads, numbers."""
    height, width = visit.picture.shape[:2]
    ties = visit.ties(min(max(row, 0), height - 1), min(max(column, 0), width - 1))
    row, column = ties.point
    grid = ' × '.join(map(str, ties.affinity.shape))
    sentence = (
        f'Row {row}, column {column} (cell {ties.cell} of {grid}). Colours run from 0<span class="heat-bar"></span>to '
        f'the largest value, {ties.affinity.max():.2f} for the affinity.'
    )
    captions = [f'block {b + 1} · head {h + 1}' for b, count in enumerate(ties.heads) for h in range(count)]
    heads = [(visit.draw_tie(heat, ties.point), caption) for heat, caption in zip(ties.attention, captions)]
    return (
        TIES.format(sentence),
        gr.Row(visible=True),
        visit.draw_tie(ties.affinity, ties.point),
        heads,
        save_numbers(ties),
    )


def no_ties() -> tuple:
    """Empty the lower part of the page."""
    return TIES.format(CLICK), gr.Row(visible=False), None, [], None


def save_numbers(ties: Ties) -> str:
    """Write what is drawn as numbers, to a file that the page deletes in time."""
    folder = tempfile.mkdtemp(prefix='ties-')
    path = Path(folder) / f'ties_{ties.point[0]}_{ties.point[1]}.npz'
    np.savez_compressed(path, point=ties.point, cell=ties.cell, affinity=ties.affinity, attention=ties.attention)
    return str(path)


def describe(visit: Visit, seconds: float) -> str:
    """Say what size the picture has, and how long it took."""
    (height, width), (file_height, file_width) = visit.picture.shape[:2], visit.file_size
    made = '' if (height, width) == visit.file_size else f', made {width} × {height} for the network'
    return f'<p class="note">{file_width} × {file_height} pixels{made}; took {seconds:.1f} s.</p>'


def forgotten() -> dict:
    """Say that there is nothing to work on, and leave the page as it is."""
    gr.Warning('There is no picture, or it was forgotten to make room for others: drop it again.', title='No picture')
    return gr.skip()
