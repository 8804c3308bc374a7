"""Random scale, mirror, crop with box, and packing."""

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.evaluator import Evaluator
from mmseg.registry import TRANSFORMS
from PIL import Image

from afa_mmseg.datasets import PackImageLevelInputs, RandomCropWithBox, RandomScale


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002


def image(height, width):
    """Pixels that hold their own row + 1 and column + 1, so none is 0."""
    rows, cols = np.mgrid[:height, :width] % 255 + 1
    return np.stack([rows, cols, 256 - rows], -1).astype(np.uint8)


def sample(height, width):
    mask = (np.arange(height * width).reshape(height, width) % 20).astype(np.uint8)
    return dict(img=image(height, width), gt_seg_map=mask, seg_fields=['gt_seg_map'])


# RandomScale


def test_scale_is_uniform_and_rounds_down():
    transform = RandomScale((0.5, 2.0))
    ratios = []
    for _ in range(400):
        results = transform(dict(img=np.zeros((41, 100, 3), np.uint8)))
        width, height = results['scale']
        ratios.append(width / 100)
        # 100 r determines r to within 1/100, hence 41 r to within one pixel.
        assert int(0.41 * width) <= height <= int(0.41 * (width + 1))
        assert results['img'].shape == (height, width, 3)
        assert results['img_shape'] == (height, width)
        assert results['scale_factor'] == (width / 100, height / 41)
        assert results['keep_ratio'] is False
    assert min(ratios) >= 0.5
    assert max(ratios) < 2
    counts, _ = np.histogram(ratios, bins=4, range=(0.5, 2))
    assert all(70 < count < 130 for count in counts)


@pytest.mark.parametrize(('ratio', 'size'), [(1.999, (57, 79)), (0.5, (14, 20)), (1.0, (29, 40)), (0.001, (1, 1))])
def test_scale_equals_pillow(ratio, size):
    results = RandomScale((ratio, ratio))(sample(29, 40))
    source = sample(29, 40)
    expected = Image.fromarray(source['img']).resize(size[::-1], Image.Resampling.BILINEAR)
    expected_mask = Image.fromarray(source['gt_seg_map']).resize(size[::-1], Image.Resampling.NEAREST)
    assert results['img'].shape[:2] == size
    assert np.array_equal(results['img'], np.asarray(expected))
    assert np.array_equal(results['gt_seg_map'], np.asarray(expected_mask))


@pytest.mark.parametrize('ratios', [(2.0, 0.5), (0, 1), (-1, 1), (1,), (0.5, 1, 2)])
def test_bad_ratio_range(ratios):
    with pytest.raises(ValueError, match=r'`ratio_range` of RandomScale is .*write \(smallest, largest\)'):
        RandomScale(ratios)


# RandomCropWithBox


@pytest.mark.parametrize('size', [(20, 30), (64, 48), (100, 90), (20, 90), (100, 30), (1, 1)])
def test_crop_holds_source_pixels_in_the_box_and_the_canvas_outside(size):
    source = sample(*size)
    for _ in range(10):
        results = RandomCropWithBox((64, 48))(sample(*size))
        top, bottom, left, right = results['img_box']
        assert results['img'].shape == (64, 48, 3)
        assert results['img_shape'] == (64, 48)
        assert (bottom - top, right - left) == (min(size[0], 64), min(size[1], 48))
        assert 0 <= top < bottom <= 64
        assert 0 <= left < right <= 48

        inside = np.zeros((64, 48), bool)
        inside[top:bottom, left:right] = True
        assert np.array_equal((results['img'] > 0).all(-1), inside)
        assert (results['gt_seg_map'][~inside] == 255).all()
        y, x = results['img'][top, left, :2].astype(int) - 1  # each pixel holds its own position
        window = (slice(y, y + bottom - top), slice(x, x + right - left))
        assert np.array_equal(results['img'][top:bottom, left:right], source['img'][window])
        assert np.array_equal(results['gt_seg_map'][top:bottom, left:right], source['gt_seg_map'][window])


def test_every_place_is_equally_likely():
    small = [RandomCropWithBox(8)(dict(img=image(5, 8)))['img_box'][0] for _ in range(400)]
    assert set(small) == {0, 1, 2, 3}
    assert all(60 < small.count(place) < 140 for place in range(4))
    large = [RandomCropWithBox(8)(dict(img=image(11, 8)))['img'][0, 0, 0] - 1 for _ in range(400)]
    assert set(large) == {0, 1, 2, 3}
    assert all(60 < large.count(place) < 140 for place in range(4))


def test_box_is_plain_ints_and_the_source_is_left_alone():
    results = sample(20, 30)
    before = results['img'].copy()
    source = results['img']
    box = RandomCropWithBox(16)(results)['img_box']
    assert box == (0, 16, 0, 16)
    assert {type(side) for side in box} == {int}
    results['img'][:] = 0
    assert np.array_equal(source, before)


@pytest.mark.parametrize('size', [0, -1, (512,), (512, 0), (512, 512, 3), (512.0, 512), '512'])
def test_bad_crop_size(size):
    with pytest.raises(ValueError, match=r'`crop_size` of RandomCropWithBox is .*write \(height, width\)'):
        RandomCropWithBox(size)


# PackImageLevelInputs


def test_pack_carries_label_id_and_box():
    results = dict(sample(4, 6), img_id='x', img_box=(0, 4, 1, 5), gt_label=np.array([0, 1, 1], np.float32))
    packed = PackImageLevelInputs()(results)
    assert torch.equal(packed['inputs'], torch.from_numpy(image(4, 6).transpose(2, 0, 1)))
    data = packed['data_samples']
    assert data.gt_label.dtype == torch.float32
    assert data.gt_label.tolist() == data.gt_score.tolist() == [0, 1, 1]
    assert data.metainfo == dict(img_id='x', img_box=(0, 4, 1, 5), num_labels=2)
    assert data.gt_sem_seg.data.shape == (1, 4, 6)
    assert PackImageLevelInputs(meta_keys=['img_path']).meta_keys == ('img_path', 'img_id', 'img_box')


def test_pack_accepts_an_image_without_label():
    pipeline = Compose([dict(type='mmseg.LoadImageFromNDArray'), dict(type='mmseg.PackImageLevelInputs')])
    data = pipeline(dict(img=image(4, 6)))['data_samples']
    assert data.ori_shape == (4, 6)
    assert list(data.keys()) == []


def test_packed_labels_fit_the_metrics_of_mmpretrain():
    evaluator = Evaluator(dict(type='mmpretrain.MultiLabelMetric', thr=0.5, prefix='cls'))
    labels, scores = [[1, 0], [1, 1], [0, 1]], [[0.9, 0.6], [0.8, 0.9], [0.7, 0.2]]
    for label, score in zip(labels, scores):
        results = dict(img=image(2, 2), gt_label=np.array(label, np.float32))
        data = PackImageLevelInputs()(results)['data_samples']
        data.set_data(dict(pred_score=torch.tensor(score)))
        evaluator.process([data])
    # Class 0: 2 of 3 predictions right, 2 of 2 found; class 1: 1 of 2 right, 1 of 2 found.
    figures = evaluator.evaluate(3)
    assert figures['cls/precision'] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2, rel=1e-5)
    assert figures['cls/recall'] == pytest.approx(100 * (1 + 1 / 2) / 2, rel=1e-5)


def test_the_train_pipeline_in_one_go(tmp_path):
    path = tmp_path / 'a.jpg'
    Image.fromarray(image(300, 400)).save(path, quality=100)
    steps = ['LoadImage', 'RandomScale', dict(type='RandomFlip', prob=0.5), 'RandomCropWithBox']
    steps = [dict(type=step) if isinstance(step, str) else step for step in [*steps, 'PackImageLevelInputs']]
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    for _ in range(10):
        packed = pipeline(dict(img_path=str(path), gt_label=np.zeros(20, np.float32)))
        top, bottom, left, right = packed['data_samples'].img_box
        outside = torch.ones(512, 512, dtype=torch.bool)
        outside[top:bottom, left:right] = False
        assert packed['inputs'].shape == (3, 512, 512)
        assert (packed['inputs'][:, outside] == 0).all()
        assert packed['inputs'][:, ~outside].float().mean() > 60
