"""Overlays: colours by hand, and marks that are visible on any colour."""

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


def test_labels_are_painted_background_is_dimmed_and_ignored_pixels_are_hatched(image):
    label = np.zeros((60, 80), np.int64)
    label[:, 40:], label[30:] = 2, 255
    out = overlay_label(image, label, PALETTE, opacity=0.5)
    assert out[0, 79].tolist() == [50, 175, 50]
    assert out[0, 0].tolist() == [55, 55, 55]
    assert len(np.unique(out[30:].reshape(-1, 3), axis=0)) == 2


def test_scores_are_as_opaque_as_they_are_high(image):
    scores = np.zeros((2, 60, 80), np.float32)
    scores[1, 0, 0], scores[0, 0, 1] = 1.0, 0.5
    out = overlay_scores(image, scores, PALETTE)
    assert out[0, 0].tolist() == [0, 250, 0]
    assert out[0, 1, 0] > out[0, 1, 1] > 0
    assert out[5, 5].tolist() == [55, 55, 55]


def test_propagated_scores_by_hand_in_any_order_of_classes():
    image = np.full((1, 4, 3), 100, np.uint8)
    scores = np.array([[[0.5, 0.2, 0.1, 0.2]], [[0.3, 0.41, 0.7, 0.39]], [[0.2, 0.39, 0.2, 0.41]]], np.float32)
    out = overlay_propagated(image, scores, PALETTE)
    # Background; class 1, though the other is nearer to its own highest score; class 1 at its highest; class 2 at its.
    assert out[0].tolist() == [[55, 55, 55], pytest.approx([108, 40, 40], abs=1), [249, 0, 0], [0, 249, 0]]
    assert np.array_equal(overlay_propagated(image, scores[[0, 2, 1]], [PALETTE[i] for i in (0, 2, 1)]), out)


def brightness(image):
    return image.astype(int).sum(axis=-1)


def test_equal_steps_of_heat_are_steps_of_brightness(image):
    ramp = np.tile(np.linspace(0, 1, 80), (60, 1))
    levels = brightness(overlay_heat(image, ramp))[0]
    assert (np.diff(levels) > -6).all()
    assert levels[-1] - levels[0] > 250
    assert np.unique(overlay_heat(image, np.zeros((3, 4))).reshape(-1, 3), axis=0).tolist() == [DARKEST]


def test_heat_has_the_given_range_at_any_resolution(image):
    heat = np.tile(np.linspace(2, 4, 80), (60, 1))
    whole, upper = overlay_heat(image, heat), overlay_heat(image, heat, low=3, high=4)
    assert brightness(upper)[0, 20] < brightness(whole)[0, 20]
    assert np.array_equal(upper[:, -1], whole[:, -1])
    assert np.array_equal(overlay_heat(image, heat, low=-9, high=-9)[0, 0], whole[0, -1])  # all of it above the range
    coarse = np.zeros((6, 8))
    coarse[4, 2] = 7.0
    row, column = np.unravel_index(brightness(overlay_heat(image, coarse)).argmax(), (60, 80))
    assert (row // 10, column // 10) == (4, 2)


@pytest.mark.parametrize('colour', [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 255, 0)])
def test_a_marked_pixel_is_visible_on_any_colour(colour):
    image = np.full((60, 80, 3), colour, np.uint8)
    out = mark_point(image, 20, 30)
    changed = np.abs(out.astype(int) - image).max(axis=-1) > 100
    assert changed.sum() > 20
    rows, columns = np.nonzero(changed)
    assert (round(rows.mean()), round(columns.mean())) == (20, 30)
    assert np.array_equal(image, np.full((60, 80, 3), colour))


def test_a_mark_at_the_edge_and_a_box_stay_within_the_image(image):
    assert mark_point(image, 59, 0).shape == image.shape
    out = draw_box(image, (10, 50, 20, 60))
    rows, columns = np.nonzero((out != image).any(axis=-1))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (10, 50, 20, 60)
    assert (out[20:40, 30:50] == 100).all()
