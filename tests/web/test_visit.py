"""The page draws the results of the Python API."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.web.handlers import Handlers, show_ties
from afa_mmseg.web.uploads import Limits
from afa_mmseg.web.visit import MIN_SIDE, look_at
from tests.tiny_files import PALETTE, make_picture


@pytest.fixture(scope='module')
def visit(inferencer):
    return look_at(inferencer, make_picture(80, 112), (160, 224))


def test_numbers_are_rows_of_affinity_and_attention(inferencer, visit):
    explanation = inferencer.explain(np.ascontiguousarray(visit.image[..., ::-1]))
    ties = visit.ties(37, 101)
    rows, columns = explanation.plain.grid
    assert (rows, columns) == (5, 7)
    assert ties.cell == 2 * columns + 6
    assert_close(torch.from_numpy(ties.affinity).flatten(), explanation.plain.affinity[0, ties.cell])
    assert ties.attention.shape == (sum(ties.heads), rows, columns)
    np.testing.assert_allclose(ties.attention.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_the_prediction_is_that_of_the_inferencer(inferencer, visit):
    expected = inferencer(np.ascontiguousarray(visit.image[..., ::-1]), with_cam=False)['predictions']
    np.testing.assert_array_equal(visit.prediction, expected)


def test_small_images_are_enlarged(visit):
    assert visit.enlargement == 5
    assert all(image.shape == (400, 560, 3) for image in visit.stages(0.5))
    assert max(visit.canvas.shape) >= MIN_SIDE
    assert_close(visit.canvas[::5, ::5].mean(), visit.image.mean(), rtol=0.02, atol=0)


def test_only_cams_of_chosen_classes_are_drawn(visit):
    none = visit.with_classes([])
    dimmed = (visit.canvas * 0.55).astype(np.uint8)
    np.testing.assert_array_equal(none.stages(0.5).cam, dimmed)
    np.testing.assert_array_equal(none.stages(0.5).refined, dimmed)
    one = visit.with_classes([4])
    row, column = np.unravel_index(one.explanation.cam()[4].argmax(), (80, 112))
    strongest = one.stages(0.5).cam[row * 5 + 2, column * 5 + 2]
    assert np.abs(strongest.astype(int) - PALETTE[5]).max() < 40
    assert np.array_equal(one.stages(0.5).prediction, visit.stages(0.5).prediction)
    assert 5 in one.classes_shown()


def test_a_higher_background_score_leaves_less_foreground(visit):
    visit = visit.with_classes([4])
    shown = [
        (visit.refined(score)[1] != (visit.canvas * 0.55).astype(np.uint8)).any(axis=2).mean() for score in (0.05, 0.95)
    ]
    assert shown[0] > shown[1]


def test_propagated_cams_are_hidden_where_the_background_wins(visit):
    visit = visit.with_classes([4, 7])
    likeliest = visit.explanation.propagated(0.5).argmax(0).numpy()
    shown = visit.refined(0.5)[0][2::5, 2::5]  # the middle of each pixel
    hidden = (shown == (visit.canvas[2::5, 2::5] * 0.55).astype(np.uint8)).all(axis=2)
    assert 0.1 < (likeliest == 0).mean() < 0.9
    assert ((likeliest == 0) == hidden).mean() > 0.98


def test_the_clicked_pixel_is_marked(visit):
    flat = np.ones((5, 7), np.float32)
    marked = visit.draw_tie(flat, (10, 20))
    plain = visit.draw_tie(flat, (70, 100))
    rows, columns = np.nonzero((marked != plain).any(axis=2)[:200, :280])
    assert (rows.mean(), columns.mean()) == pytest.approx((10.5 * 5, 20.5 * 5), abs=1)


def test_clicks_outside_are_moved_to_the_edge(visit):
    assert 'Row 79, column 111.' in show_ties(visit, 80, 500)[0]


def test_class_names_are_escaped(inferencer, visit):
    handlers = Handlers(inferencer, Limits())
    legend = handlers.legend(visit.with_classes([0, 1]))
    assert '&lt;i&gt;cat&lt;/i&gt;' in legend
    assert 'собака' in legend
    assert '<i>cat' not in legend
    assert 'rgb(12, 243, 90)' in legend


def test_likely_classes_come_first(inferencer, visit):
    boxes = Handlers(inferencer, Limits()).tick_boxes(visit)
    scores = dict(zip(inferencer.class_names, visit.explanation.score.tolist()))
    listed = [scores[name] for _, name in boxes.choices]
    assert listed == sorted(listed, reverse=True)
    assert len(listed) == 20
    assert boxes.value == [inferencer.class_names[i] for i in visit.own_classes]
