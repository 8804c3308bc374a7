import numpy as np
import pytest

from afa_mmseg.datasets import COCOImageLevelDataset
from afa_mmseg.datasets.palette import voc_palette
from afa_mmseg.visualization import draw_legend, text_size, with_legend

COCO = COCOImageLevelDataset.METAINFO
PALETTE = voc_palette(81)


def columns_of_ink(legend):
    """Which columns hold anything but paper."""
    return (legend != 255).any(axis=(0, 2))


def find(legend, colour):
    """Centres of the colour samples of a class: rows and columns."""
    return np.argwhere((legend == colour).all(axis=-1))


@pytest.mark.parametrize('width', [200, 640, 1200])
def test_each_of_80_classes_has_its_own_place(width):
    names = list(COCO['classes'])
    legend = draw_legend(names, PALETTE, width)
    assert legend.shape[1] == width
    places = [tuple(np.round(find(legend, colour).mean(axis=0)).astype(int)) for colour in PALETTE]
    assert len(set(places)) == 81
    ink = (legend < 128).all(axis=-1)
    for (row, column), name in zip(places, names):
        room = slice(column + 12, column + 12 + text_size(name)[0])
        assert ink[row - 8 : row + 8, room].sum() > 3 * len(name)
    assert not columns_of_ink(legend)[-4:].any()


def test_more_width_is_more_columns():
    heights = [draw_legend(COCO['classes'], PALETTE, width).shape[0] for width in (200, 500, 1000)]
    assert heights[0] > 2 * heights[1] > 3 * heights[2]


def test_one_class_takes_one_line():
    legend = draw_legend(['cat'], [[200, 0, 0]], 300)
    assert legend.shape[0] < 40
    assert find(legend, [200, 0, 0]).size > 0
    assert not columns_of_ink(legend)[100:].any()


def test_a_name_wider_than_the_legend_is_cut():
    legend = draw_legend(['a name that has no room here at all, however it is put'], [[200, 0, 0]], 120)
    assert legend.shape[1] == 120
    assert not columns_of_ink(legend)[-4:].any()


def test_only_classes_that_occur_stand_below_a_picture():
    image = np.full((50, 60, 3), 100, np.uint8)
    out = with_legend(image, COCO['classes'], PALETTE, [5, 3, 5, 255])
    assert np.array_equal(out[:50, :60], image)
    assert (out[:50, 60:] == 255).all()
    legend = out[50:]
    assert [len(find(legend, PALETTE[i])) for i in (3, 5)] == [144, 144]
    assert not any(len(find(legend, PALETTE[i])) for i in (1, 2, 4, 6))
    assert len(find(legend, [150] * 3)) > 30  # a hatched sample
    assert len(find(legend, [235] * 3)) > 30
