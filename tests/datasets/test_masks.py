"""Loading of masks: those of `ImageLevelDataset` are looked at; all are relabelled by mmseg's rules."""

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from afa_mmseg.datasets import ImageLevelDataset
from afa_mmseg.datasets.images import WrongMaskError
from afa_mmseg.datasets.transforms import LoadMask

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackImageLevelInputs')]
CLASSES = ['background', 'cat', 'dog']


def dataset(folder, **settings):
    defaults = dict(metainfo=dict(classes=CLASSES), label_file='labels.json', pipeline=LOAD)
    prefix = dict(img_path='img', seg_map_path='mask')
    return ImageLevelDataset(**{**defaults, 'data_root': str(folder), 'data_prefix': prefix, **settings})


@pytest.mark.parametrize('label_map', [None, {0: 0, 1: 2, 2: 1, 3: 255}])
@pytest.mark.parametrize('reduces', [False, True])
def test_every_value_is_relabelled_as_mmseg_does(tmp_path, reduces, label_map):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / 'a.png')
    info = dict(seg_map_path=str(tmp_path / 'a.png'), reduce_zero_label=reduces, label_map=label_map)
    expected = LoadAnnotations()(dict(info, seg_fields=[]))
    given = LoadMask()(dict(info, seg_fields=[], num_values=256, ignore_index=255))
    assert np.array_equal(given['gt_seg_map'], expected['gt_seg_map'])
    assert given['gt_seg_map'].dtype == np.uint8
    assert given['seg_fields'] == ['gt_seg_map']


@pytest.mark.parametrize(
    ('settings', 'allowed'),
    [
        ({}, [0, 1, 2, 255]),
        (dict(reduce_zero_label=True), [0, 1, 2, 3, 255]),
        (dict(ignore_index=9), [0, 1, 2, 9]),
    ],
)
def test_values_are_those_of_the_classes_and_the_ignored_one(folder, settings, allowed):
    data = dataset(folder, **settings)
    for value in range(256):
        Image.fromarray(np.full((40, 56), value, np.uint8)).save(folder / 'mask/a.png')
        if value in allowed:
            data[0]
            continue
        with pytest.raises(WrongMaskError, match=rf'holds {value}; allowed are 0 to {allowed[-2]}, .* {allowed[-1]},'):
            data[0]


def test_a_subset_of_classes_still_has_masks_of_all(folder):
    class Pets(ImageLevelDataset):
        METAINFO = dict(classes=('background', 'cat', 'dog', 'rabbit'))

    settings = dict(data_root=str(folder), data_prefix=dict(img_path='img', seg_map_path='mask'), pipeline=LOAD)
    data = Pets(metainfo=dict(classes=['background', 'dog']), label_file='labels.json', **settings)
    pixels = np.zeros((40, 56), np.uint16)
    pixels[0, :4] = 0, 1, 2, 3
    Image.fromarray(pixels).save(folder / 'mask/a.png')
    assert data[0]['data_samples'].gt_sem_seg.data[0, 0, :4].tolist() == [0, 255, 1, 255]


def test_masks_of_mmsegs_own_data_sets_are_loaded_as_ever(folder):
    Image.fromarray(np.full((3, 5), 77, np.uint8)).save(folder / 'mask/a.png')
    prefix = dict(img_path='img', seg_map_path='mask')
    pipeline = [*LOAD[:2], dict(type='PackSegInputs')]
    data = BaseSegDataset(data_root=str(folder), data_prefix=prefix, pipeline=pipeline)
    assert data[0]['data_samples'].gt_sem_seg.data.unique().tolist() == [77]
    assert isinstance(data.pipeline.transforms[1], LoadMask)


def test_zero_is_reduced_by_the_data_set_alone(folder):
    with pytest.warns(UserWarning, match='deprecated'):
        step = TRANSFORMS.build(dict(type='LoadAnnotations', reduce_zero_label=True))
    with pytest.raises(ValueError, match='`reduce_zero_label` of LoadAnnotations is True, of the data set False'):
        dataset(folder, pipeline=[LOAD[0], step])[0]


def test_masks_have_a_limit_of_pixels(folder, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 40 * 56 // 2)  # Pillow refuses twice as many
    Image.fromarray(np.zeros((40, 57), np.uint8)).save(folder / 'mask/a.png')
    with pytest.raises(ValueError, match=r'mask .*a\.png cannot be read: .*2280 pixels'):
        dataset(folder)[0]
