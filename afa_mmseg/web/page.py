"""Layout of the page: controls on the left, steps on the right, affinity and attention of a pixel below."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import gradio as gr
import numpy as np
from gradio.data_classes import ImageData
from gradio.utils import is_in_or_equal

from ..apis.inferencer import WeakSegInferencer
from .handlers import CLICK, START, TIES, Handlers
from .uploads import Limits

TITLE = 'What the network sees'
INTRO = f"""
<h1>{TITLE}</h1>
<p>This network was trained on image-level labels only. Follow an image from class activation map to segmentation, and
click a pixel to see its affinity and attention.</p>
"""
STEPS = (
    ('CAM', 'Evidence of the classifier; the more colour, the higher the score.'),
    ('Propagated', 'CAM propagated along the learned affinity, where it exceeds the background.'),
    ('Refined', 'Refined along the edges of the image: a pseudo-label.'),
    ('Prediction', 'Output of the segmentation head, for any choice of classes.'),
)
#: Seconds between two deletions of old files, and the age of files and sessions to delete.
DELETE_FILES = (600, 3600)
#: Events share one network: they run one at a time, and at most so many wait.
QUEUE, MAX_WAITING = 'network', 32
#: Side of the image that finds out whether the method has affinity and attention, in pixels.
PROBE = 224


def build_page(inferencer: WeakSegInferencer, examples: Sequence[Path], limits: Limits) -> gr.Blocks:
    """Build the page, with image files to choose from."""
    on = Handlers(inferencer, limits)
    steps = inferencer.explain(np.zeros((PROBE, PROBE, 3), np.uint8))
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=DELETE_FILES) as page:
        visit = gr.State(None, time_to_live=DELETE_FILES[1])
        gr.HTML(INTRO, elem_id='intro', padding=False)
        with gr.Row(elem_id='main'):
            with gr.Column():
                upload, boxes, own, slider, note = _controls(examples, inferencer.model.test_cfg.get('bkg_score', 0.35))
            with gr.Column():
                legend = gr.HTML(START, elem_id='legend', padding=False)
                tiles = _tiles(steps.has_affinity)
                ties = _ties(steps.has_affinity, steps.has_attention)
        drawn = [*tiles, legend]
        queue: dict[str, Any] = dict(
            concurrency_id=QUEUE, concurrency_limit=1, api_visibility='private', show_progress_on=tiles
        )
        asked: dict[str, Any] = dict(queue, trigger_mode='always_last')
        upload.change(on.look, [upload, slider], [visit, boxes, note, *drawn, *ties], **queue)
        boxes.input(on.tick, [visit, boxes, slider], [visit, *drawn], **asked)
        own.click(on.take_own, [visit, slider], [visit, boxes, *drawn], **queue)
        slider.change(on.slide, [visit, slider], tiles[1:3], **{**asked, 'show_progress_on': tiles[1:3]})
        pointed: dict[str, Any] = dict(queue, show_progress_on=ties[2:4])
        for tile in tiles:
            tile.select(on.click, visit, ties, **pointed)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)  # all requests go through the queue
    page.state_session_capacity = limits.max_visitors
    return page


def _controls(
    examples: Sequence[Path], bkg_score: float
) -> tuple[gr.Image, gr.CheckboxGroup, gr.Button, gr.Slider, gr.HTML]:
    """Build the left side: image, classes, button, slider, note."""
    upload = upload_image()
    if examples:
        gr.Examples([[str(path)] for path in examples], upload, label='Examples', api_visibility='private')
    boxes = gr.CheckboxGroup(
        [], label='Classes in the image', info="With the classifier's probability.", elem_id='classes'
    )
    own = gr.Button('Classes of the classifier', size='sm', elem_id='own')
    slider = gr.Slider(
        0.05, 0.95, value=bkg_score, step=0.01, label='Background score',
        info='A higher score leaves less foreground.', elem_id='background',
    )  # fmt: skip
    note = gr.HTML(elem_id='note', padding=False)
    return upload, boxes, own, slider, note


def _tiles(with_affinity: bool) -> list[gr.Image]:
    tiles = []
    with gr.Row(elem_id='steps'):
        for name, meaning in STEPS:
            with gr.Column(visible=with_affinity or name != 'Propagated'):
                tiles.append(drawn_image(name, f'tile-{name.lower()}'))
                caption(name, meaning)
    return tiles


def _ties(with_affinity: bool, with_attention: bool) -> list[gr.blocks.Block]:
    intro = gr.HTML(TIES.format(CLICK), elem_id='ties-intro', padding=False)
    with gr.Row(visible=False, elem_id='ties') as row:
        with gr.Column(visible=with_affinity):
            affinity = drawn_image('Learned affinity', 'affinity')
            caption('Learned affinity', 'Cells of the same class, as learned from all heads.')
            numbers = gr.DownloadButton('Numbers as .npz', size='sm', elem_id='numbers')
        with gr.Column(visible=with_attention):
            heads = gr.Gallery(
                label='Attention', show_label=False, format='png', columns=4, object_fit='contain', height='auto',
                interactive=False, buttons=[], elem_id='heads',
            )  # fmt: skip
            caption('Attention', 'Attention of the pixel in each head of the last blocks.')
    return [intro, row, affinity, heads, numbers]


def upload_image() -> gr.Image:
    """Build the input image, which accepts uploads and examples only and returns an unopened path.

    Gradio by default accepts any URL of a request, and opens files before they are checked.
    """
    upload = gr.Image(
        label='Image', type='filepath', sources=['upload', 'clipboard'], height=240, buttons=[], elem_id='upload'
    )

    async def keep_in_cache(path: Union[str, Path, None]) -> Optional[str]:
        if path is None or not is_in_or_equal(path, upload.GRADIO_CACHE):
            raise gr.Error('only uploaded images and examples are accepted', print_exception=False)
        return str(path)

    def path_of(payload: Optional[ImageData]) -> Optional[str]:
        return payload.path if payload is not None else None

    # Not a subclass: Gradio would write a stub file beside its source.
    upload.async_move_resource_to_block_cache = keep_in_cache  # type: ignore[method-assign, assignment]
    upload.preprocess = path_of  # type: ignore[method-assign]
    return upload


def drawn_image(label: str, name: str) -> gr.Image:
    """Build a lossless output image."""
    return gr.Image(
        label=label, show_label=False, alt_text=label, format='png', interactive=False,
        buttons=['download', 'fullscreen'], elem_id=name, elem_classes=['drawn'],
    )  # fmt: skip


def caption(name: str, meaning: str) -> None:
    """Write the caption of the element above."""
    gr.HTML(f'<p class="note"><b>{name}</b>{meaning}</p>', padding=False)
