"""Panels: places of tiles, captions and legend entries."""

import numpy as np
import pytest

from afa_mmseg.datasets import COCOImageLevelDataset
from afa_mmseg.utils.masks import voc_palette
from afa_mmseg.visualization import draw_grid, draw_legend, stack_panels, text_size, with_legend
from afa_mmseg.visualization.panel import CAPTION_COLOUR, CAPTION_MARGIN, GAP, MIN_TILE, enlarge

BAR = text_size('image')[1] + 2 * CAPTION_MARGIN
COCO = COCOImageLevelDataset.METAINFO['classes']
PALETTE = voc_palette(81)


@pytest.fixture
def image():
    return np.full((60, 80, 3), 100, np.uint8)


def find(legend, colour):
    """Rows and columns of the pixels of a colour."""
    return np.argwhere((legend == colour).all(axis=-1))


def test_a_row_has_every_tile_enlarged_below_its_caption(image):
    panel = draw_grid([[('image', enlarge(image)), ('acaptionthatisfartoolongforitstile' * 3, enlarge(image * 0))]])
    tile = 80 * 3  # the shorter side has at least 160 pixels
    assert panel.shape == (BAR + 60 * 3, 2 * tile + GAP, 3)
    assert (panel[:BAR, :5] == CAPTION_COLOUR).all()
    assert (panel[:BAR, 5:tile] > 128).any()
    assert (panel[BAR:, :tile] == 100).all()
    assert (panel[:, tile : tile + GAP] == 255).all()
    assert (panel[BAR:, tile + GAP :] == 0).all()


def test_a_wide_row_is_wrapped_into_rows_of_similar_length(image):
    tile = enlarge(image)
    panel = draw_grid([[(str(i), tile) for i in range(7)]], max_width=1000)  # 4 fit
    assert panel.shape[:2] == (2 * (BAR + 180) + GAP, 4 * 240 + 3 * GAP)
    assert (panel[2 * BAR + 184 :, 3 * 244 :] == 255).all()
    assert draw_grid([[('one', tile)] * 2], max_width=10).shape[1] == 240


def test_a_long_caption_has_two_lines_and_narrow_tiles_are_padded(image):
    bar = BAR + text_size('image')[1]
    grid = draw_grid([[('short', image), ('a caption too long for one line', image)], [('below', image)]])
    assert grid.shape[:2] == (bar + 60 + GAP + BAR + 60, 2 * MIN_TILE + GAP)
    assert (grid[bar : bar + 60, 40:120] == 100).all()
    assert (grid[bar : bar + 60, :40] == 255).all()


def test_panels_of_different_widths_are_stacked(image):
    stacked = stack_panels([np.concatenate([image, image], axis=1), image])
    assert stacked.shape[:2] == (120 + GAP, 160)
    assert (stacked[-1, -1] == 255).all()


@pytest.mark.parametrize('width', [200, 1200])
def test_each_of_80_classes_has_its_own_place(width):
    legend = draw_legend(COCO, PALETTE, range(81), width)
    assert legend.shape[1] == width
    places = [tuple(np.round(find(legend, colour).mean(axis=0)).astype(int)) for colour in PALETTE]
    assert len(set(places)) == 81
    ink = (legend < 128).all(axis=-1)
    for (row, column), name in zip(places, COCO):
        assert ink[row - 8 : row + 8, column + 12 : column + 12 + text_size(name)[0]].sum() > 3 * len(name)


def test_a_legend_below_an_image_has_the_classes_that_occur(image):
    out = with_legend(image, COCO, PALETTE, [5, 3, 5, 255])
    assert np.array_equal(out[:60, :80], image)
    assert (out[:60, 80:] == 255).all()
    assert [len(find(out[60:], PALETTE[i])) for i in (1, 2, 3, 4, 5)] == [0, 0, 144, 0, 144]
    assert min(len(find(out[60:], [value] * 3)) for value in (150, 235)) > 30  # a hatched sample
