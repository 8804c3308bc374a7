"""Tiles of a panel: their place and content."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample

from afa_mmseg.utils.masks import voc_palette
from afa_mmseg.visualization import (
    image_of,
    overlay_heat,
    overlay_label,
    overlay_propagated,
    panel_of_explanation,
    row_of_explanation,
    salient_points,
    text_size,
)
from afa_mmseg.visualization.explanation_panel import MAX_CLASSES

PALETTE = voc_palette(21)
NAMES = ['background', *(f'class {i}' for i in range(1, 21))]
BAR, TILE, GAP = text_size('input')[1] + 6, 224, 4


@pytest.fixture
def explain(tiny_segmentor):
    """Explain an image of noise."""

    def explain(classes=(2, 7), size=(64, 64), **meta):
        torch.manual_seed(0)
        sample = SegDataSample(metainfo=dict(ori_shape=size, **meta))
        sample.gt_label = torch.zeros(20)
        sample.gt_label[list(classes)] = 1
        inputs = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
        data = tiny_segmentor.data_preprocessor(pseudo_collate([dict(inputs=inputs, data_samples=sample)]), False)
        return tiny_segmentor.explain(**data)[0]

    return explain


def draw(explanation, **options):
    return panel_of_explanation(image_of(explanation), explanation, PALETTE, NAMES, **options)


def tile_of(panel, row, column):
    """Cut a square tile out of a panel, without its caption."""
    top, left = row * (BAR + TILE + GAP) + BAR, column * (TILE + GAP)
    return panel[top : top + TILE, left : left + TILE]


def num_rows(panel):
    """Count the captions of the first column."""
    return int((np.diff((panel[:, 2] == 32).all(axis=-1).astype(int)) == -1).sum())


def test_a_cam_is_brightest_where_its_class_scores_highest(explain):
    explanation = explain([4])
    cam = torch.zeros_like(explanation.output.cam)
    cam[0, 4, 40:48, 8:16] = 1
    panel = draw(replace(explanation, output=explanation.output._replace(cam=cam)))
    brightness = tile_of(panel, 0, 1).astype(int).sum(axis=-1)
    block = brightness.reshape(8, 28, 8, 28).mean(axis=(1, 3))  # 8 pixels of the input each
    assert np.unravel_index(block.argmax(), block.shape) == (5, 1)
    assert block[5, 1] > 2 * np.median(block)
    assert np.delete(block, 5, axis=0).max() < 1.2 * np.median(block)


def test_labels_are_hatched_where_ignored(explain):
    explanation = explain(img_box=(10, 50, 20, 64))
    panel, image = draw(explanation), tile_of(draw(explain()), 0, 0)
    low, high = (explanation.label_at(score) for score in explanation.labeler.bkg_scores)
    nearest = np.arange(TILE) * 64 // TILE
    for column, label in enumerate((explanation.cam_label(), low, high, explanation.pseudo_label())):
        label = label.numpy()[nearest][:, nearest]
        assert np.array_equal(tile_of(panel, 1, column), overlay_label(image, label, PALETTE))
        assert (label == 255).any()


def test_the_box_of_a_crop_is_drawn_on_the_input(explain):
    plain, boxed = (tile_of(draw(explain(img_box=box)), 0, 0) for box in ((0, 64, 0, 64), (16, 48, 8, 64)))
    rows, columns = np.nonzero((plain != boxed).any(axis=-1))
    assert (rows.min(), rows.max() + 1) == (56, 168)
    assert (columns.min(), columns.max() + 1) == (28, 224)
    assert (boxed[57, 40:200] == 255).all()


def test_affinity_and_attention_of_a_pixel_are_those_of_the_explanation(explain):
    explanation = explain()
    panel, point = draw(explanation, points=[(40, 24)]), (40, 24)
    image = tile_of(draw(explanation), 0, 0)
    maps = [explanation.affinity_of(*point), *explanation.attention_of(*point)]
    for column, index in enumerate((0, 1, 6, 11, 16)):  # affinity, then 4 of the 16 heads
        tile = tile_of(panel, 2, column).astype(int)
        expected = overlay_heat(image, maps[index].numpy(), high=1.0 if index == 0 else None).astype(int)
        away = np.hypot(*np.mgrid[-141.75:82.25, -85.75:138.25]) > 14  # of the mark
        assert np.abs(tile - expected)[away].mean() < 2
        assert np.abs(tile - expected)[~away].max() > 50
    assert len(maps) == 17


@pytest.mark.parametrize(('count', 'rows'), [(0, 2), (1, 2), (2, 2), (3, 3), (20, 6)])
def test_each_present_class_has_two_heat_maps_up_to_a_number(explain, count, rows):
    panel = draw(explain(range(count)))
    assert num_rows(panel) == rows
    assert panel.shape[1] == (5 if count > 1 else 4) * (TILE + GAP) - GAP
    assert MAX_CLASSES == 10


def test_the_chosen_pixels_are_the_strongest_of_the_likeliest_class_and_a_weak_corner(explain):
    explanation = explain([2, 7], img_box=(10, 60, 10, 60))
    cam = torch.zeros_like(explanation.output.cam)
    cam[0, 7, 30, 40], cam[0, 7, 5, 5], cam[0, 7, :32, :32] = 0.9, 1.0, 0.5
    score = torch.zeros(20)
    score[7] = 0.9
    explanation = replace(explanation, output=explanation.output._replace(cam=cam), score=score)
    strongest, corner = salient_points(explanation)
    assert strongest == (30, 40)  # not (5, 5), outside the box
    assert float(cam[0, 7][corner]) == 0
    assert corner in [(14, 55), (55, 14), (55, 55)]
    assert salient_points(explanation.with_classes([]))[0] == (35, 35)


def test_the_row_of_essentials(explain):
    explanation = explain()
    prediction = np.zeros((64, 64), np.int64)
    row = row_of_explanation(image_of(explanation), explanation, PALETTE, prediction)
    assert row.shape[1] == 5 * 192 + 4 * GAP
    with_truth = row_of_explanation(image_of(explanation), explanation, PALETTE, prediction, prediction + 3)
    assert with_truth.shape[1] == 6 * 192 + 5 * GAP
    truth = overlay_label(image_of(explanation), prediction + 3, PALETTE)
    assert np.array_equal(with_truth[BAR::3, 192 + GAP : 2 * 192 + GAP : 3], truth)
    spread = explanation.propagated(explanation.labeler.bkg_scores[0]).detach().numpy()
    expected = overlay_propagated(image_of(explanation), spread, PALETTE)
    assert np.array_equal(row[BAR::3, 2 * (192 + GAP) : 3 * 192 + 2 * GAP : 3], expected)
    assert 0 < (spread.argmax(0) == 0).mean() < 1
