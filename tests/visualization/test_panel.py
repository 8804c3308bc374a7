import numpy as np
import pytest

from afa_mmseg.visualization import draw_panel, overlay_label, overlay_scores, panel_of_sample, stack_panels

PALETTE = [[0, 0, 0], [250, 0, 0], [0, 250, 0]]


@pytest.fixture
def image():
    return np.full((60, 80, 3), 100, np.uint8)


def test_labels_are_painted_in_their_colours_and_background_keeps_the_image(image):
    label = np.zeros((60, 80), np.int64)
    label[:, 40:] = 2
    out = overlay_label(image, label, PALETTE, opacity=0.5)
    assert out[0, 79].tolist() == [50, 175, 50]
    assert out[0, 0].tolist() == [55, 55, 55]


def test_ignored_pixels_are_hatched_in_two_greys(image):
    out = overlay_label(image, np.full((60, 80), 255), PALETTE)
    greys = np.unique(out.reshape(-1, 3), axis=0)
    assert len(greys) == 2
    assert (greys[:, 0] == greys[:, 1]).all()


def test_scores_are_as_opaque_as_they_are_high(image):
    scores = np.zeros((2, 60, 80), np.float32)
    scores[1, 0, 0], scores[0, 0, 1] = 1.0, 0.5
    out = overlay_scores(image, scores, PALETTE)
    assert out[0, 0].tolist() == [0, 250, 0]
    assert out[0, 1, 0] > out[0, 1, 1] > 0
    assert out[5, 5].tolist() == [55, 55, 55]


def test_a_panel_holds_the_image_and_every_tile_that_there_is(image):
    sample = dict(pred_cam=np.zeros((2, 60, 80)), pred_sem_seg=np.zeros((60, 80), np.int64))
    with_truth = panel_of_sample(image, sample, PALETTE, ground_truth=np.zeros((60, 80), np.int64))
    without = panel_of_sample(image, sample, PALETTE)
    tile = 80 * 3  # enlarged until the shorter side has 160 pixels
    assert with_truth.shape[1] - without.shape[1] == tile + 4
    assert (with_truth[18:, :tile] == 100).all()


def test_panels_of_different_widths_stack(image):
    narrow, wide = draw_panel(image, []), draw_panel(image, [('again', image)])
    stacked = stack_panels([wide, narrow])
    assert stacked.shape[:2] == (2 * wide.shape[0] + 4, wide.shape[1])
    assert (stacked[-1, -1] == 255).all()
