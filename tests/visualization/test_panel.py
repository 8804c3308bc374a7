import numpy as np
import pytest

from afa_mmseg.visualization import draw_grid, draw_panel, stack_panels, text_size
from afa_mmseg.visualization.panel import CAPTION_COLOUR, CAPTION_MARGIN, GAP, MIN_TILE

BAR = text_size('image')[1] + 2 * CAPTION_MARGIN


@pytest.fixture
def image():
    return np.full((60, 80, 3), 100, np.uint8)


def test_a_panel_holds_the_image_and_every_tile_enlarged(image):
    panel = draw_panel(image, [('black', image * 0)])
    tile = 80 * 3  # enlarged until the shorter side has 160 pixels
    assert panel.shape == (BAR + 60 * 3, 2 * tile + 4, 3)
    assert (panel[BAR:, :tile] == 100).all()
    assert (panel[:, tile : tile + 4] == 255).all()
    assert (panel[BAR:, tile + 4 :] == 0).all()


def test_many_tiles_go_on_below_in_rows_of_about_the_same_length(image):
    panel = draw_panel(image, [(str(i), image) for i in range(6)], max_width=1000)  # 7 tiles, 4 would fit
    assert panel.shape[1] == 4 * 240 + 3 * 4
    assert panel.shape[0] == 2 * (BAR + 180) + 4
    assert (panel[BAR + 184 + BAR :, 3 * 244 :] == 255).all()
    assert draw_panel(image, [('one', image)], max_width=10).shape[1] == 240


@pytest.mark.parametrize(
    'caption', ['a caption that is far too long for its tile', 'длинная подпись под картинкой', '']
)
def test_no_caption_is_wider_than_its_tile(image, caption):
    panel = draw_panel(image, [(caption, image)])
    bar = panel[:BAR, 244:]
    assert (bar[:, :5] == CAPTION_COLOUR).all()
    assert (bar[:, -5:] == CAPTION_COLOUR).all()
    assert (bar[:, 5:-5] > 128).any() == bool(caption)


def test_a_long_caption_has_a_second_line_and_the_row_stays_level(image):
    line = text_size('image')[1]
    grid = draw_grid([[('short', image), ('a caption too long for one line', image)], [('below', image)]])
    bar = BAR + line
    assert grid.shape[:2] == (bar + 60 + GAP + BAR + 60, 2 * MIN_TILE + GAP)
    assert (grid[bar : bar + 60, 40:120] == 100).all()
    written = (grid[:bar] > 128).any(axis=2)
    upper, lower = written[: CAPTION_MARGIN + line], written[CAPTION_MARGIN + line :]
    assert (upper[:, :MIN_TILE].any(), lower[:, :MIN_TILE].any()) == (True, False)
    assert (upper[:, MIN_TILE + GAP :].any(), lower[:, MIN_TILE + GAP :].any()) == (True, True)


def test_a_narrow_tile_has_room_for_its_caption():
    tall = np.zeros((500, 20, 3), np.uint8)
    grid = draw_grid([[('a caption', tall)]])
    assert grid.shape == (BAR + 500, 160, 3)
    assert (grid[BAR:, 70:90] == 0).all()
    assert (grid[BAR:, :70] == 255).all()


def test_panels_of_different_widths_stack(image):
    narrow, wide = draw_panel(image, []), draw_panel(image, [('again', image)])
    stacked = stack_panels([wide, narrow])
    assert stacked.shape[:2] == (2 * wide.shape[0] + 4, wide.shape[1])
    assert (stacked[-1, -1] == 255).all()
