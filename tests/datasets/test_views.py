"""Views of an image, and the pipeline of three of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/three_views.py'


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002


def sample(height=60, width=90):
    image = np.random.randint(0, 256, (height, width, 3), dtype=np.uint8)  # noqa: NPY002
    return dict(img=image, img_shape=(height, width), ori_shape=(height, width), gt_label=np.array([1, 0, 1]))


class InvertInPlace(BaseTransform):
    def transform(self, results):
        np.subtract(255, results['img'], out=results['img'])
        return results


def test_a_view_is_transformed_and_the_image_is_not():
    results = sample()
    image = results['img'].copy()
    transforms = [dict(type='RandomFlip', prob=1.0), dict(type=InvertInPlace)]
    results = TRANSFORMS.build(dict(type='AddView', key='view2', transforms=transforms[:1]))(results)
    results = TRANSFORMS.build(dict(type='AddView', key='view3', transforms=transforms[1:]))(results)
    assert np.array_equal(results['img'], image)
    assert np.array_equal(results['view2'], image[:, ::-1])
    assert np.array_equal(results['view3'], 255 - image)
    assert 'flip' not in results


def test_packed_views_are_raw_tensors_of_the_sample():
    results = dict(sample(), view2=np.arange(18, dtype=np.uint8).reshape(2, 3, 3))
    packed = TRANSFORMS.build(dict(type='PackViews', views=['view2']))(results)
    view = packed['data_samples'].view2
    assert view.dtype == torch.uint8
    assert view[:, 1, 2].tolist() == [15, 16, 17]
    assert packed['data_samples'].gt_label.tolist() == [1, 0, 1]


def test_a_missing_view_is_named():
    with pytest.raises(KeyError, match='view3'):
        TRANSFORMS.build(dict(type='PackViews', views=['view3']))(sample())


def test_the_pipeline_makes_three_views_of_one_size():
    pipeline = Compose(Config.fromfile(CONFIG).three_view_pipeline[1:])
    packed = pipeline(sample())
    views = packed['inputs'], packed['data_samples'].view2, packed['data_samples'].view3
    assert [view.shape for view in views] == [(3, 448, 448)] * 3
    assert [view.dtype for view in views] == [torch.uint8] * 3
    top, bottom, left, right = packed['data_samples'].img_box
    assert 0 <= top < bottom <= 448
    assert 0 <= left < right <= 448


def test_each_view_is_jittered_and_mirrored_by_itself():
    """Views 1 and 3 of a flat crop differ in colour; of a gradient, in direction about half of the time."""
    pipeline = Compose(Config.fromfile(CONFIG).three_view_pipeline[5:])
    gradient = np.broadcast_to(np.arange(96, dtype=np.uint8)[None, :, None] * 2, (96, 96, 3))
    opposite, shades = 0, set()
    for _ in range(60):
        packed = pipeline(dict(img=gradient.copy(), img_shape=(96, 96), ori_shape=(96, 96), view2=gradient))
        directions = [
            view[1, 48, 95].int() > view[1, 48, 0].int() for view in (packed['inputs'], packed['data_samples'].view3)
        ]
        opposite += bool(directions[0] != directions[1])
        shades.add(int(packed['inputs'][1, 48, 48]))
    assert 18 < opposite < 42
    assert len(shades) > 10
