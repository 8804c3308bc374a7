"""The page draws the results of the Python API."""

import gradio as gr
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.web.handlers import Handlers
from afa_mmseg.web.uploads import Limits
from afa_mmseg.web.visit import MIN_SIDE, look_at
from tests.tiny_files import PALETTE, make_image


@pytest.fixture(scope='module')
def visit(inferencer):
    return look_at(inferencer, make_image(80, 112))


def dimmed(visit):
    """The image as it is drawn where there is no foreground."""
    return (visit.canvas * 0.55).astype(np.uint8)


def test_numbers_and_prediction_are_those_of_the_inferencer(inferencer, visit):
    bgr = np.ascontiguousarray(visit.image[..., ::-1])
    explanation = inferencer.explain(bgr)
    ties = visit.ties(37, 101)
    rows, columns = explanation.plain.grid
    assert (rows, columns) == (5, 7)
    assert ties.cell == 2 * columns + 6
    assert_close(torch.from_numpy(ties.affinity).flatten(), explanation.plain.affinity[0, ties.cell])
    assert ties.attention.shape == (sum(ties.heads), rows, columns)
    np.testing.assert_allclose(ties.attention.sum(axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_array_equal(visit.prediction, inferencer(bgr, with_cam=False)['predictions'])


def test_small_images_are_enlarged(visit):
    assert visit.enlargement == 5
    assert all(image.shape == (400, 560, 3) for image in visit.stages(0.5))
    assert max(visit.canvas.shape) >= MIN_SIDE
    assert_close(visit.canvas[::5, ::5].mean(), visit.image.mean(), rtol=0.02, atol=0)


def test_only_cams_of_chosen_classes_are_drawn(visit):
    none = visit.with_classes([])
    np.testing.assert_array_equal(none.stages(0.5).cam, dimmed(visit))
    np.testing.assert_array_equal(none.stages(0.5).refined, dimmed(visit))
    one = visit.with_classes([4])
    row, column = np.unravel_index(one.explanation.cam()[4].argmax(), (80, 112))
    strongest = one.stages(0.5).cam[row * 5 + 2, column * 5 + 2]
    assert np.abs(strongest.astype(int) - PALETTE[5]).max() < 40
    assert np.array_equal(one.stages(0.5).prediction, visit.stages(0.5).prediction)
    assert 5 in one.classes_shown()
    shown = [(one.refined(score)[1] != dimmed(visit)).any(axis=2).mean() for score in (0.05, 0.95)]
    assert shown[0] > shown[1]  # a higher background score leaves less foreground


def test_propagated_cams_are_hidden_where_the_background_wins(visit):
    visit = visit.with_classes([4, 7])
    likeliest = visit.explanation.propagated(0.5).argmax(0).numpy()
    shown = visit.refined(0.5)[0][2::5, 2::5]  # the middle of each pixel
    hidden = (shown == dimmed(visit)[2::5, 2::5]).all(axis=2)
    assert 0.1 < (likeliest == 0).mean() < 0.9
    assert ((likeliest == 0) == hidden).mean() > 0.98


def test_the_clicked_pixel_is_marked_and_clicks_outside_are_moved_to_the_edge(inferencer, visit):
    flat = np.ones((5, 7), np.float32)
    marked, plain = visit.draw_tie(flat, (10, 20)), visit.draw_tie(flat, (70, 100))
    rows, columns = np.nonzero((marked != plain).any(axis=2)[:200, :280])
    assert (rows.mean(), columns.mean()) == pytest.approx((10.5 * 5, 20.5 * 5), abs=1)
    event = gr.SelectData(None, dict(index=[2500, 400], value=None))
    assert 'Row 79, column 111.' in Handlers(inferencer, Limits()).click(visit, event)[0]


def test_classes_are_escaped_and_likely_ones_come_first(inferencer, visit):
    handlers = Handlers(inferencer, Limits())
    legend = handlers.legend(visit.with_classes([0, 1]))
    for text in ('&lt;i&gt;cat&lt;/i&gt;', 'собака', 'rgb(12, 243, 90)'):
        assert text in legend
    assert '<i>cat' not in legend
    boxes = handlers.tick_boxes(visit)
    scores = dict(zip(inferencer.class_names, visit.explanation.score.tolist()))
    listed = [scores[name] for _, name in boxes.choices]
    assert listed == sorted(listed, reverse=True)
    assert len(listed) == 20
    assert boxes.value == [inferencer.class_names[i] for i in visit.own_classes]
