"""Loading of images and masks: EXIF orientations, checks of `ImageLevelDataset`, mmseg's rules of relabelling."""

import io

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

from afa_mmseg.datasets import COCOImageLevelDataset, ImageLevelDataset, VOCImageLevelDataset
from afa_mmseg.datasets.images import WrongMaskError
from afa_mmseg.datasets.transforms import LoadImage, LoadMask
from afa_mmseg.datasets.transforms.loading import turn_upright

LOAD = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackImageLevelInputs')]
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
    for value in (*range(12), 128, 254, 255):
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
        step = TRANSFORMS.build(dict(type='LoadMask', reduce_zero_label=True))
    with pytest.raises(ValueError, match='`reduce_zero_label` of LoadMask is True, of the data set False'):
        dataset(folder, pipeline=[LOAD[0], step])[0]


# EXIF orientations


def encode(pixels, orientation):
    """A PNG file of stored pixels with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG', exif=exif)
    return file.getvalue()


@pytest.fixture
def stored(folder):
    """A data set of one image, whose stored pixels and mask a test sets with their orientations."""

    def build(kind, image_orientation, mask_orientation, mask):
        image = np.arange(40 * 56 * 3, dtype=np.uint32).reshape(40, 56, 3).astype(np.uint8)
        (folder / 'img/a.png').write_bytes(encode(image, image_orientation))
        (folder / 'mask/a.png').write_bytes(encode(mask, mask_orientation))
        (folder / 'one.txt').write_text('a\n')
        settings = dict(label_file='labels.json', ann_file='one.txt', img_suffix='.png', pipeline=LOAD)
        prefix = dict(img_path='img', seg_map_path='mask')
        data = kind(data_root=str(folder), data_prefix=prefix, test_mode=True, **settings)
        return image[..., ::-1], data

    return build


def pixels_of(data):
    sample = data[0]
    return sample['inputs'].numpy().transpose(1, 2, 0), sample['data_samples'].gt_sem_seg.data[0].numpy()


@pytest.mark.parametrize('orientation', range(1, 9))
def test_pixels_are_turned_upright_as_pillow_does(orientation):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    data = encode(pixels, orientation)
    expected = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert turn_upright(pixels, data).tolist() == expected.tolist()


class Pets(ImageLevelDataset):
    METAINFO = dict(classes=('background', 'cat', 'dog'))


MASK = np.arange(40 * 56).reshape(40, 56).astype(np.uint8) % 3


@pytest.mark.parametrize('orientation', [1, 3, 6])
@pytest.mark.parametrize('kind', [VOCImageLevelDataset, COCOImageLevelDataset])
def test_voc_and_coco_are_read_as_stored(stored, kind, orientation):
    image, data = stored(kind, orientation, orientation, MASK)
    pixels, mask = pixels_of(data)
    assert np.array_equal(pixels, image)
    assert np.array_equal(mask, MASK)


@pytest.mark.parametrize(('orientation', 'turns'), [(1, 0), (3, 2), (6, -1), (8, 1)])
@pytest.mark.parametrize('mask_is_stored_turned', [False, True])
def test_own_images_are_turned_and_masks_by_their_own_orientation(stored, orientation, turns, mask_is_stored_turned):
    upright = np.rot90(MASK, turns)
    written = (MASK, orientation) if mask_is_stored_turned else (np.ascontiguousarray(upright), 1)
    image, data = stored(Pets, orientation, written[1], written[0])
    pixels, mask = pixels_of(data)
    assert np.array_equal(pixels, np.rot90(image, turns))
    assert np.array_equal(mask, upright)


def test_a_mask_of_the_stored_size_without_orientation_is_named(stored):
    _, data = stored(Pets, 6, 1, MASK)
    with pytest.raises(WrongMaskError, match=r'mask .*a\.png has 56 x 40 pixels, its image 40 x 56\n.*EXIF'):
        data[0]


def test_images_without_a_data_set_are_turned_and_need_no_mask(tmp_path):
    (tmp_path / 'a.png').write_bytes(encode(MASK, 6))
    results = LoadMask()(LoadImage()(dict(img_path=str(tmp_path / 'a.png'))))
    assert results['img'].shape == (56, 40, 3)
    assert 'gt_seg_map' not in results
    never = LoadImage(color_type='color_ignore_orientation')(dict(img_path=str(tmp_path / 'a.png')))
    assert never['img'].shape == (40, 56, 3)
