import numpy as np
import pytest

from afa_mmseg.visualization import mark_point, overlay_heat, overlay_label, overlay_propagated, overlay_scores
from afa_mmseg.visualization.overlays import draw_box

PALETTE = [[0, 0, 0], [250, 0, 0], [0, 250, 0]]
#: Value 100 at 40 % below the darkest colour of heat, (0, 0, 3) or so.
DARKEST = [40, 40, 42]


@pytest.fixture
def image():
    return np.full((60, 80, 3), 100, np.uint8)


def test_labels_are_painted_in_their_colours_and_background_keeps_the_image(image):
    label = np.zeros((60, 80), np.int64)
    label[:, 40:] = 2
    out = overlay_label(image, label, PALETTE, opacity=0.5)
    assert out[0, 79].tolist() == [50, 175, 50]
    assert out[0, 0].tolist() == [55, 55, 55]


def test_ignored_pixels_are_hatched_in_two_values(image):
    out = overlay_label(image, np.full((60, 80), 255), PALETTE)
    values = np.unique(out.reshape(-1, 3), axis=0)
    assert len(values) == 2
    assert (values[:, 0] == values[:, 1]).all()


def test_scores_are_as_opaque_as_they_are_high(image):
    scores = np.zeros((2, 60, 80), np.float32)
    scores[1, 0, 0], scores[0, 0, 1] = 1.0, 0.5
    out = overlay_scores(image, scores, PALETTE)
    assert out[0, 0].tolist() == [0, 250, 0]
    assert out[0, 1, 0] > out[0, 1, 1] > 0
    assert out[5, 5].tolist() == [55, 55, 55]


def test_propagated_scores_by_hand():
    scores = np.array([[[0.5, 0.2, 0.1, 0.2]], [[0.3, 0.41, 0.7, 0.39]], [[0.2, 0.39, 0.2, 0.41]]], np.float32)
    out = overlay_propagated(np.full((1, 4, 3), 100, np.uint8), scores, PALETTE)
    # Background; class 1, though the other is nearer to its own highest score; class 1 at its highest; class 2 at its.
    assert out[0].tolist() == [[55, 55, 55], pytest.approx([108, 40, 40], abs=1), [249, 0, 0], [0, 249, 0]]


def test_the_order_of_classes_does_not_change_propagated_scores(image):
    scores = np.random.default_rng(0).random((3, 60, 80)).astype(np.float32)
    swapped = overlay_propagated(image, scores[[0, 2, 1]], [PALETTE[i] for i in (0, 2, 1)])
    assert np.array_equal(overlay_propagated(image, scores, PALETTE), swapped)


def brightness(image):
    return image.astype(int).sum(axis=-1)


def test_heat_is_brightest_where_the_map_is_highest(image):
    heat = np.zeros((6, 8))
    heat[4, 2] = 7.0
    out = overlay_heat(image, heat)
    row, column = np.unravel_index(brightness(out).argmax(), (60, 80))
    assert (row // 10, column // 10) == (4, 2)
    assert out[0, -1].tolist() == DARKEST  # the grey image below the darkest colour


def test_equal_steps_of_heat_are_steps_of_brightness(image):
    ramp = np.tile(np.linspace(0, 1, 80), (60, 1))
    levels = brightness(overlay_heat(image, ramp))[0]
    assert (np.diff(levels) > -6).all()
    assert levels[-1] - levels[0] > 250


def test_heat_has_the_range_it_is_given(image):
    heat = np.tile(np.linspace(2, 4, 80), (60, 1))
    whole, upper = overlay_heat(image, heat), overlay_heat(image, heat, low=3, high=4)
    assert brightness(upper)[0, 20] < brightness(whole)[0, 20]
    assert np.array_equal(upper[:, -1], whole[:, -1])
    assert np.array_equal(overlay_heat(image, heat, low=-9, high=-9)[0, 0], whole[0, -1])  # all of it above the range


def test_a_map_of_zeros_is_dark(image):
    assert np.unique(overlay_heat(image, np.zeros((3, 4))).reshape(-1, 3), axis=0).tolist() == [DARKEST]


@pytest.mark.parametrize('colour', [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (255, 255, 0)])
def test_a_marked_pixel_is_seen_on_any_colour(colour):
    image = np.full((60, 80, 3), colour, np.uint8)
    out = mark_point(image, 20, 30)
    changed = np.abs(out.astype(int) - image).max(axis=-1) > 100
    assert changed.sum() > 20
    rows, columns = np.nonzero(changed)
    assert (round(rows.mean()), round(columns.mean())) == (20, 30)
    assert (np.array_equal(image, np.full((60, 80, 3), colour)), out.shape) == (True, image.shape)


def test_a_mark_at_the_edge_and_a_box_stay_within_the_image(image):
    assert mark_point(image, 59, 0).shape == image.shape
    out = draw_box(image, (10, 50, 20, 60))
    rows, columns = np.nonzero((out != image).any(axis=-1))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (10, 50, 20, 60)
    assert (out[20:40, 30:50] == 100).all()
