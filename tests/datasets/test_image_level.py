"""Data set of pictures with image-level labels."""

import numpy as np
import pytest
from mmseg.registry import DATASETS

from afa_mmseg.datasets import ImageLevelDataset

CLASSES = ['background', 'cat', 'dog']
TRAIN = [dict(type='LoadImageFromFile'), dict(type='PackImageLevelInputs')]
VAL = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackImageLevelInputs')]


class PetsDataset(ImageLevelDataset):
    METAINFO = dict(
        classes=('background', 'cat', 'dog', 'rabbit'), palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]
    )


def build(root, **kwargs):
    settings = dict(
        type=ImageLevelDataset,
        data_root=str(root),
        data_prefix=dict(img_path='img'),
        label_file='labels.json',
        metainfo=dict(classes=CLASSES),
    )
    return DATASETS.build({**settings, **kwargs})


def test_samples_of_a_split_in_its_order(folder):
    dataset = build(folder, ann_file='train.txt', pipeline=TRAIN)
    info = dataset.get_data_info(0)
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['b', 'a']
    assert info['img_path'] == str(folder / 'img' / 'b.jpg')
    assert 'seg_map_path' not in info
    assert info['gt_label'].dtype == np.float32
    assert [dataset.get_data_info(i)['gt_label'].tolist() for i in range(2)] == [[1.0, 1.0], [1.0, 0.0]]
    sample = dataset[0]['data_samples']
    assert sample.gt_label.tolist() == [1.0, 1.0]
    assert sample.img_id == 'b'


def test_without_a_split_all_pictures_of_the_folder_count(folder):
    (folder / 'img' / 'sub').mkdir()
    (folder / 'img' / 'a.jpg').rename(folder / 'img' / 'sub' / 'a.jpg')
    (folder / 'img' / 'notes.txt').touch()
    (folder / 'labels.csv').write_text('id,label\nsub/a,dog\nb\nc,cat\nnot used,cat\n')
    dataset = build(folder, label_file='labels.csv')
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert {info['img_id']: info['gt_label'].tolist() for info in infos} == {
        'b': [0, 0],
        'c': [1, 0],
        'sub/a': [0, 1],
    }


def test_split_list_with_byte_order_mark_and_blank_lines(folder):
    (folder / 'train.txt').write_bytes(b'\xef\xbb\xbfc\r\n\r\na \r\n\r\n')
    dataset = build(folder, ann_file='train.txt')
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['c', 'a']


@pytest.mark.parametrize('unset', [{}, dict(seg_map_path=None), dict(seg_map_path='')])
def test_masks_are_optional(folder, unset):
    assert 'seg_map_path' not in build(folder, data_prefix=dict(img_path='img', **unset)).get_data_info(0)


def test_masks_are_read_where_the_pipeline_says_so(folder):
    prefix = dict(img_path='img', seg_map_path='mask')
    sample = build(folder, data_prefix=prefix, pipeline=VAL)[1]['data_samples']
    mask = sample.gt_sem_seg.data[0]
    assert mask.unique().tolist() == [0, 2, 255]
    assert (mask == 2).sum() == 19 * 20
    assert sample.gt_label.tolist() == [1.0, 1.0]


def test_a_subset_of_classes_drops_the_others(folder):
    (folder / 'labels.json').write_text('{"a": ["cat", "rabbit"], "b": [0, 1, 0], "c": ["rabbit", "dog"]}')
    dataset = build(folder, type=PetsDataset, metainfo=dict(classes=['background', 'dog', 'cat']))
    assert [dataset.get_data_info(i)['gt_label'].tolist() for i in range(3)] == [[0, 1], [1, 0], [1, 0]]
    assert dataset.get_data_info(0)['label_map'] == {0: 0, 1: 2, 2: 1, 3: 255}


def test_lazy_init_reads_nothing(tmp_path):
    dataset = build(tmp_path / 'gone', lazy_init=True)
    assert dataset.metainfo['classes'] == CLASSES
    with pytest.raises(FileNotFoundError):
        dataset.full_init()


def write(name, text):
    return lambda root: (root / name).write_text(text)


def remove(name):
    return lambda root: (root / name).unlink()


def nothing(root):
    pass


@pytest.mark.parametrize(
    ('break_it', 'settings', 'kind', 'words'),
    [
        (nothing, dict(data_root='/gone'), FileNotFoundError, ['`data_root`', '/gone', '--cfg-options']),
        (nothing, dict(data_prefix=dict(img_path='jpg')), FileNotFoundError, ["['img_path']", '/jpg', '`data_root`']),
        (nothing, dict(ann_file='val.txt'), FileNotFoundError, ['`ann_file`', 'val.txt', 'Correct']),
        (
            write('train.txt', '\n'.join(['a', *'uvwxyz'])),
            dict(ann_file='train.txt'),
            FileNotFoundError,
            ["['img_path']", '6 of 7', "'u', 'v', 'w', ...", '.jpg', 'take the ids out', '`img_suffix`'],
        ),
        (
            write('train.txt', 'a\nb\na\n'),
            dict(ann_file='train.txt'),
            ValueError,
            ['`ann_file`', "'a'", 'twice', 'once'],
        ),
        (
            write('train.txt', '/img/a\n'),
            dict(ann_file='train.txt'),
            ValueError,
            ['`ann_file`', "'/img/a'", 'relative'],
        ),
        (write('train.txt', '../img/a'), dict(ann_file='train.txt'), ValueError, ["'../img/a'", 'stay in']),
        (write('train.txt', '\n'), dict(ann_file='train.txt'), ValueError, ['`ann_file`', 'train.txt', 'no pictures']),
        (nothing, dict(img_suffix='.png'), ValueError, ['`img_suffix`', "'.png'", 'correct the field']),
        (nothing, dict(label_file=None), ValueError, ['`label_file`', 'ImageLevelDataset', '{"id": ["cat", "dog"]']),
        (remove('labels.json'), {}, FileNotFoundError, ['`label_file`', 'labels.json', 'Write one', 'CSV']),
        (
            write('labels.json', '{"a.jpg": [], "a": []}'),
            {},
            ValueError,
            ['`label_file`', 'labels.json', '2 of 3', "'b', 'c'", "look like 'a.jpg'", 'Add the ids'],
        ),
        (write('labels.json', '{"a": [1, 0, 0]}'), {}, ValueError, ['labels.json', "'a'", 'length 3', 'expected 2']),
        (write('labels.json', '{"a": ["fish"]}'), {}, ValueError, ['labels.json', "'a'", "'fish'", 'cat, dog']),
        (nothing, dict(metainfo=None), ValueError, ['`metainfo`', '`classes` is []', 'background']),
        (nothing, dict(metainfo=dict(classes=['cat'])), ValueError, ['`metainfo`', "['cat']", 'background']),
        (
            nothing,
            dict(type=PetsDataset, metainfo=dict(classes=['cat', 'dog'])),
            ValueError,
            ['`metainfo`', "'background'", 'first'],
        ),
        (
            remove('mask/b.png'),
            dict(data_prefix=dict(img_path='img', seg_map_path='mask'), pipeline=VAL),
            FileNotFoundError,
            ["['seg_map_path']", '1 of 3', "'b'", '`LoadAnnotations`'],
        ),
    ],
)
def test_errors_name_field_value_and_remedy(folder, break_it, settings, kind, words):
    break_it(folder)
    with pytest.raises(kind) as error:
        build(folder, **settings)
    assert [word for word in words if word not in str(error.value)] == []
