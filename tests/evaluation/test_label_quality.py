"""Label maps in files, compared with masks: as mmseg counts, pooled over images."""

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from afa_mmseg.evaluation.label_quality import format_report, judge_labels
from afa_mmseg.utils import save_mask

CLASSES = ('background', 'cat', 'dog')
PALETTE = [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


def write(folder, name, array):
    save_mask(np.asarray(array, np.uint8), PALETTE, folder / f'{name}.png')
    return folder / f'{name}.png'


def info(mask, label_map=None):
    return dict(seg_map_path=str(mask), label_map=label_map, reduce_zero_label=False)


def test_by_hand(tmp_path):
    label = write(tmp_path, 'label', [[0, 1, 255, 255], [0, 1, 1, 0]])
    mask = write(tmp_path, 'mask', [[0, 1, 1, 255], [0, 1, 0, 255]])
    report = judge_labels([label], [info(mask)], CLASSES, num_workers=0)
    # cat: 2 right, 1 too many, 1 ignored; background: 2 right, 1 missed.
    assert report == dict(
        images=1,
        with_mask=1,
        ignored=25.0,
        mIoU=pytest.approx(100 * (2 / 4 + 2 / 3) / 2, abs=0.01),
        mIoU_decided=pytest.approx(100 * (2 / 3 + 2 / 3) / 2, abs=0.01),
        classes=dict(
            background=dict(IoU=66.67, IoU_decided=66.67),
            cat=dict(IoU=50.0, IoU_decided=66.67),
            dog=dict(IoU=None, IoU_decided=None),
        ),
    )
    table = format_report(report)
    assert '| cat        | 50.00 |                 66.67 |' in table
    assert '| dog        |     - |                     - |' in table
    assert table.endswith('1 images, 1 with a mask; 25.0 % of the pixels are ignored')


def test_figures_are_those_of_mmseg_pooled_over_images(tmp_path):
    rng = np.random.default_rng(0)
    labels, masks = (rng.choice([0, 1, 2, 255], (10, 9, 13), p=[0.4, 0.3, 0.2, 0.1]) for _ in range(2))
    files = [write(tmp_path, f'label{i}', label) for i, label in enumerate(labels)]
    infos = [info(write(tmp_path, f'mask{i}', mask)) for i, mask in enumerate(masks)]
    report = judge_labels(files, infos, CLASSES, num_workers=2)
    areas = IoUMetric.intersect_and_union(torch.from_numpy(labels), torch.from_numpy(masks), 3, 255)
    iou = 100 * areas[0] / areas[1]
    assert [values['IoU'] for values in report['classes'].values()] == pytest.approx(iou.tolist(), abs=0.01)
    assert report['mIoU'] == pytest.approx(float(iou.mean()), abs=0.01)
    assert report['ignored'] == pytest.approx(100 * (labels == 255).mean(), abs=0.01)


def test_masks_are_optional_and_may_have_more_classes(tmp_path):
    label = write(tmp_path, 'label', [[0, 1], [1, 1]])
    mask = write(tmp_path, 'mask', [[0, 2], [1, 2]])
    files, infos = [label, label], [info(tmp_path / 'none.png'), info(mask, {0: 0, 1: 255, 2: 1})]
    report = judge_labels(files, infos, CLASSES[:2], num_workers=0)
    assert (report['images'], report['with_mask'], report['mIoU']) == (2, 1, 100)
    report = judge_labels(files[:1], infos[:1], CLASSES, num_workers=0)
    assert 'mIoU' not in report
    assert format_report(report) == '1 images, 0 with a mask; 0.0 % of the pixels are ignored'
    assert format_report(judge_labels([], [], CLASSES, num_workers=0)) == '0 images, 0 with a mask'


@pytest.mark.parametrize(
    ('values', 'named'), [([[0, 1, 1]] * 2, r'\(2, 2\) .*\(2, 3\)'), ([[0, 3]] * 2, 'mask holds 3')]
)
def test_a_mask_that_does_not_fit_is_named(tmp_path, values, named):
    label, mask = write(tmp_path, 'label', [[0, 1]] * 2), write(tmp_path, 'mask', values)
    with pytest.raises(ValueError, match=rf'label.png .*mask.png: .*{named}'):
        judge_labels([label], [info(mask)], CLASSES, num_workers=0)
