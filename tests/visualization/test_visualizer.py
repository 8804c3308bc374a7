"""OverlayVisualizer: the overlays of this package from mmseg's hook."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from afa_mmseg.visualization import OverlayVisualizer, overlay_label

NAMES, PALETTE = ('background', 'cat'), [[0, 0, 0], [255, 0, 0]]
IMAGE = np.full((200, 240, 3), 100, np.uint8)


def make_sample(**labels):
    sample = SegDataSample()
    sample.set_data({name: PixelData(data=torch.from_numpy(label)[None]) for name, label in labels.items()})
    return sample


@pytest.mark.parametrize('fields', [('pred_sem_seg',), ('gt_sem_seg', 'pred_sem_seg')])
def test_ground_truth_and_segmentation_are_overlays_side_by_side(fields, tmp_path):
    label = np.zeros(IMAGE.shape[:2], np.int64)
    label[50:150, 60:] = 1
    visualizer = OverlayVisualizer(name=f'overlays of {len(fields)}')
    visualizer.dataset_meta = dict(classes=NAMES, palette=PALETTE)
    visualizer.add_datasample('a', IMAGE, make_sample(**dict.fromkeys(fields, label)), out_file=str(tmp_path / 'a.png'))
    drawn, expected = np.asarray(Image.open(tmp_path / 'a.png')), overlay_label(IMAGE, label.astype(np.uint8), PALETTE)
    assert drawn.shape[1] // IMAGE.shape[1] == len(fields)
    rows = [row for row in range(drawn.shape[0] - 200) if np.array_equal(drawn[row : row + 200, :240], expected)]
    assert len(rows) == 1
    assert np.array_equal(drawn[rows[0] : rows[0] + 200, -240:], expected)
    assert (drawn[rows[0] + 200 :] == PALETTE[1]).all(axis=2).any()  # the legend


def test_an_image_that_was_predicted_as_stored_is_drawn_as_stored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    stored = np.zeros((60, 90, 3), np.uint8)
    stored[:, :45] = 200
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    sample = make_sample(pred_sem_seg=np.zeros((60, 90), np.int64))
    sample.set_metainfo(dict(img_path=str(tmp_path / 'a.png'), ori_shape=(60, 90)))
    visualizer = OverlayVisualizer(name='as stored')
    visualizer.dataset_meta = dict(classes=NAMES, palette=PALETTE)
    turned = np.ascontiguousarray(np.rot90(stored, -1))  # as mmseg's hook reads it
    visualizer.add_datasample('a', turned, sample, out_file=str(tmp_path / 'drawn.png'))
    drawn = np.asarray(Image.open(tmp_path / 'drawn.png').convert('L'))
    row = drawn[np.flatnonzero(drawn.max(axis=1))[-1] - 5]
    half = len(row) // 2
    assert row[: half - 2].min() > row[half + 2 :].max()
