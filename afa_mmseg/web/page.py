"""The page: controls on the left, the steps on the right, and below them what a clicked pixel is tied to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import gradio as gr
from gradio.data_classes import ImageData
from gradio.utils import is_in_or_equal

from ..apis.inferencer import WeakSegInferencer
from .handlers import CLICK, START, TIES, Handlers
from .uploads import Limits

TITLE = 'What the network sees'
INTRO = f"""
<h1>{TITLE}</h1>
<p>This network learned to segment from nothing but lists of what is in each picture. Follow a picture of yours from
class activation map to segmentation, and click a pixel to see what it is tied to.</p>
"""
STEPS = (
    ('CAM', 'Where the classifier looks; the more colour, the higher the score.'),
    ('Propagated', 'CAM spread along the learned affinity, where it beats the background.'),
    ('Refined', 'Snapped to the edges of the picture: a pseudo-label.'),
    ('Prediction', 'What the segmentation head says, whatever is ticked.'),
)
#: Seconds between two looks for files to delete, and after which files and visits are.
DELETE_FILES = (600, 3600)
#: Events share one network: one at a time, and no more than so many waiting.
QUEUE, MAX_WAITING = 'network', 32


class Controls(NamedTuple):
    """The left side of the page."""

    upload: gr.Image
    boxes: gr.CheckboxGroup
    own: gr.Button
    slider: gr.Slider
    note: gr.HTML


def build_page(inferencer: WeakSegInferencer, examples: Sequence[Path], limits: Limits) -> gr.Blocks:
    """Lay out the page and connect it.

    Args:
        inferencer: With the network.
        examples: Files of pictures to begin with.
        limits: Of what visitors upload.
    """
    on = Handlers(inferencer, limits)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=DELETE_FILES) as page:
        visit = gr.State(None, time_to_live=DELETE_FILES[1])
        gr.HTML(INTRO, elem_id='intro', padding=False)
        with gr.Row(elem_id='main'):
            with gr.Column():
                upload, boxes, own, slider, note = _controls(examples, inferencer.model.test_cfg.get('bkg_score', 0.35))
            with gr.Column():
                legend = gr.HTML(START, elem_id='legend', padding=False)
                tiles = _tiles()
                ties = _ties()
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
        upload.select(on.click_upload, visit, ties, **pointed)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)  # nobody jumps the queue
    page.state_session_capacity = limits.max_visitors
    return page


def _controls(examples: Sequence[Path], bkg_score: float) -> Controls:
    upload = upload_image()
    if examples:
        gr.Examples([[str(path)] for path in examples], upload, label='or one of these', api_visibility='private')
    boxes = gr.CheckboxGroup(
        [], label='Classes in the picture', info="With the classifier's probability.", elem_id='classes'
    )
    own = gr.Button("Take the classifier's own", size='sm', elem_id='own')
    slider = gr.Slider(
        0.05, 0.95, value=bkg_score, step=0.01, label='Background score',
        info='The higher, the less is taken for an object.', elem_id='background',
    )  # fmt: skip
    note = gr.HTML(elem_id='note', padding=False)
    return Controls(upload, boxes, own, slider, note)


def _tiles() -> list[gr.Image]:
    tiles = []
    with gr.Row(elem_id='steps'):
        for name, meaning in STEPS:
            with gr.Column():
                tiles.append(picture(name, f'tile-{name.lower()}'))
                caption(name, meaning)
    return tiles


def _ties() -> list[gr.blocks.Block]:
    intro = gr.HTML(TIES.format(CLICK), elem_id='ties-intro', padding=False)
    with gr.Row(visible=False, elem_id='ties') as row:
        with gr.Column():
            affinity = picture('Learned affinity', 'affinity')
            gr.HTML(
                '<p class="note"><b>Learned affinity</b>What belongs together, as learned from all heads.</p>',
                padding=False,
            )
            numbers = gr.DownloadButton('Numbers as .npz', size='sm', elem_id='numbers')
        with gr.Column():
            heads = gr.Gallery(
                label='Attention', show_label=False, format='png', columns=4, object_fit='contain', height='auto',
                interactive=False, buttons=[], elem_id='heads',
            )  # fmt: skip
            gr.HTML(
                '<p class="note"><b>Attention</b>What each head of the last blocks looks at from here.</p>',
                padding=False,
            )
    return [intro, row, affinity, heads, numbers]


def upload_image() -> gr.Image:
    """Make the place for the visitor's picture: from uploads and examples only, given as a path that nobody opened.

    Gradio by itself takes any address that a request names, and opens files before they are checked.
    """
    upload = gr.Image(
        label='Picture', type='filepath', sources=['upload', 'clipboard'], height=240, buttons=[], elem_id='upload'
    )

    async def keep_in_cache(path: Union[str, Path, None]) -> Optional[str]:
        if path is None or not is_in_or_equal(path, upload.GRADIO_CACHE):
            raise gr.Error('only uploaded pictures and examples are taken', print_exception=False)
        return str(path)

    # Not a subclass: Gradio would write a stub beside its source.
    upload.async_move_resource_to_block_cache = keep_in_cache  # type: ignore[method-assign, assignment]
    upload.preprocess = _path_of  # type: ignore[method-assign]
    return upload


def _path_of(payload: Optional[ImageData]) -> Optional[str]:
    return payload.path if payload is not None else None


def picture(label: str, name: str) -> gr.Image:
    """Make a place for a drawn picture; PNG, so that its pixels stay what they are."""
    return gr.Image(
        label=label, show_label=False, alt_text=label, format='png', interactive=False,
        buttons=['download', 'fullscreen'], elem_id=name, elem_classes=['drawn'],
    )  # fmt: skip


def caption(name: str, meaning: str) -> None:
    """Name what is above, and say what it shows."""
    gr.HTML(f'<p class="note"><b>{name}</b>{meaning}</p>', padding=False)
