"""Confusion by hand, and its IoU against mmseg's."""

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from afa_mmseg.evaluation.confusion import Confusion


def test_by_hand():
    confusion = Confusion(num_classes=3)
    mask = np.array([[0, 0, 0, 0, 1, 1, 1, 2, 2, 255]])
    label = np.array([[0, 0, 1, 255, 1, 0, 255, 2, 1, 1]])
    confusion.add(label, mask)
    assert confusion.counts.tolist() == [[2, 1, 0, 1], [1, 1, 0, 1], [0, 1, 1, 0]]
    assert confusion.iou == pytest.approx([50, 25, 50])
    assert confusion.mean_iou == pytest.approx(125 / 3)
    assert confusion.ignored == pytest.approx(2 / 9)
    assert confusion.errors == pytest.approx(
        {'foreground as background': 1 / 9, 'background as foreground': 1 / 9, 'one class as another': 1 / 9}
    )
    assert confusion.foreground == pytest.approx((2 / 4, 2 / 5))


def test_where_and_several_maps_add_up():
    rng = np.random.default_rng(0)
    label, mask = rng.integers(0, 4, (2, 20, 30))
    whole, parts = Confusion(4), Confusion(4)
    whole.add(label, mask)
    where = rng.random((20, 30)) < 0.3
    parts.add(torch.from_numpy(label), torch.from_numpy(mask), where)
    parts.add(label, mask, ~where)
    assert np.array_equal(whole.counts, parts.counts)


def test_iou_is_mmsegs():
    rng = np.random.default_rng(1)
    confusion = Confusion(3)
    areas = []
    for _ in range(4):
        label, mask = rng.integers(0, 3, (2, 16, 16))
        mask[rng.random((16, 16)) < 0.2] = 255
        confusion.add(label, mask)
        areas.append(IoUMetric.intersect_and_union(torch.from_numpy(label), torch.from_numpy(mask), 3, 255))
    both, union = (sum(area[i] for area in areas) for i in (0, 1))
    assert confusion.iou == pytest.approx((100 * both / union).numpy(), abs=1e-4)


def test_a_class_without_a_pixel_is_left_out():
    confusion = Confusion(3)
    assert np.isnan(confusion.mean_iou)
    confusion.add(np.zeros((2, 2)), np.zeros((2, 2)))
    assert np.isnan(confusion.iou).tolist() == [False, True, True]
    assert confusion.mean_iou == 100


@pytest.mark.parametrize(
    ('label', 'mask', 'match'), [((2, 3), (2, 2), r'\(2, 3\)'), (3, 0, 'label holds 3'), (0, -1, 'mask holds -1')]
)
def test_wrong_maps_are_refused(label, mask, match):
    maps = [np.zeros(x) if isinstance(x, tuple) else np.full((2, 2), x) for x in (label, mask)]
    with pytest.raises(ValueError, match=match):
        Confusion(3).add(*maps)
