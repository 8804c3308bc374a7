"""Data set of images with image-level labels."""

import shutil
import unicodedata

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from afa_mmseg.datasets import ImageLevelDataset
from tests.datasets.files import write_image
from tests.refusal import refused

CLASSES = ['background', 'cat', 'dog']
TRAIN = [dict(type='LoadImage'), dict(type='PackImageLevelInputs')]
VAL = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackImageLevelInputs')]


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


def test_without_a_split_all_images_of_the_folder_are_used(folder):
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


def test_masks_are_read_if_the_pipeline_loads_them(folder):
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


def labels_by_id(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {info['img_id']: info['gt_label'].tolist() for info in infos}


@pytest.mark.parametrize('name', ['labels.csv', 'labels.json'])
def test_classes_come_from_the_label_file(folder, name):
    (folder / 'labels.csv').write_text('id;dog;cat\na;0;1\nb;1;1\nc;0;0\n')
    dataset = build(folder, label_file=name, metainfo=None)
    in_order = ('dog', 'cat') if name == 'labels.csv' else ('cat', 'dog')
    assert dataset.metainfo['classes'] == ('background', *in_order)
    assert dataset.metainfo['label_map'] is None
    cat_dog = {i: [value for _, value in sorted(zip(in_order, row))] for i, row in labels_by_id(dataset).items()}
    assert cat_dog == {'a': [1, 0], 'b': [1, 1], 'c': [0, 0]}


def test_folders_of_images_are_labels(folder):
    for name in ('img/cat/x', 'img/dog/x', 'img/dog/y'):
        write_image(folder / f'{name}.jpg', seed=name[-1] == 'y')
    for name in 'abc':
        (folder / f'img/{name}.jpg').unlink()
    dataset = build(folder, label_file='img', metainfo=None)
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog')
    assert labels_by_id(dataset) == {'cat/x': [1, 1], 'dog/x': [1, 1], 'dog/y': [0, 1]}


def test_lazy_init_reads_the_classes_later(folder):
    dataset = build(folder, metainfo=None, lazy_init=True)
    assert dataset.metainfo.get('classes') is None
    dataset.full_init()
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog')
    assert dataset.metainfo['palette'] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


def test_classes_without_colours_get_those_of_voc():
    names = PascalVOCDataset.METAINFO['classes']
    dataset = ImageLevelDataset(metainfo=dict(classes=names), lazy_init=True)
    assert dataset.metainfo['palette'] == PascalVOCDataset.METAINFO['palette']
    many = ImageLevelDataset(metainfo=dict(classes=[str(i) for i in range(256)]), lazy_init=True).metainfo['palette']
    assert len({tuple(colour) for colour in many}) == 256


def test_masks_have_room_for_254_classes_and_the_background(folder):
    names = ['background', 'cat', 'dog', *map(str, range(3, 255))]
    assert build(folder, metainfo=dict(classes=names))[0]['gt_label'].shape == (254,)
    refused(build, folder, metainfo=dict(classes=[*names, 'one more']), words=['`metainfo`', '256', '255'])


def test_several_suffixes_in_either_case(folder):
    (folder / 'img/a.jpg').rename(folder / 'img/a.JPG')
    (folder / 'img/b.jpg').rename(folder / 'img/b.jpeg')
    (folder / 'img/.hidden.png').touch()
    write_image(folder / 'img/.ipynb_checkpoints/a-checkpoint.jpg')
    dataset = build(folder, img_suffix=['.jpg', '.jpeg', '.png'], pipeline=TRAIN)
    files = [dataset.get_data_info(i)['img_path'] for i in range(3)]
    assert files == [str(folder / 'img' / name) for name in ('a.JPG', 'b.jpeg', 'c.jpg')]
    assert dataset[0]['inputs'].shape == (3, 40, 56)
    listed = build(folder, img_suffix=['.jpg', '.jpeg', '.png'], ann_file='train.txt')
    assert list(labels_by_id(listed)) == ['b', 'a']


def test_ids_with_suffixes_and_backslashes_match_the_image(folder):
    (folder / 'img/sub').mkdir()
    (folder / 'img/b.jpg').rename(folder / 'img/sub/b.jpg')
    (folder / 'img/c.jpg').rename(folder / 'img/c.d.jpg')
    (folder / 'train.txt').write_text('c.d\na.JPG\nsub/b.jpg\n')
    (folder / 'labels.csv').write_text('id,label\na.jpg,cat\nsub\\b.JPG,dog\nc.d,cat\n')
    dataset = build(folder, label_file='labels.csv', ann_file='train.txt')
    assert labels_by_id(dataset) == {'c.d': [1, 0], 'a': [1, 0], 'sub/b': [0, 1]}


def test_letters_in_the_other_unicode_form_are_the_same(folder):
    decomposed = unicodedata.normalize('NFD', '\u00e9tui')
    (folder / 'img/a.jpg').rename(folder / f'img/{decomposed}.jpg')
    (folder / 'labels.csv').write_text('\u00e9tui,cat\nb,dog\nc\n', encoding='utf-8')
    assert labels_by_id(build(folder, label_file='labels.csv')) == {'b': [0, 1], 'c': [0, 0], decomposed: [1, 0]}


def write(name, text):
    return lambda root: (root / name).write_text(text)


def remove(name):
    return lambda root: (root / name).unlink()


def copy(source, target):
    return lambda root: shutil.copy(root / source, root / target)


def nothing(root):
    pass


LISTED = dict(ann_file='train.txt')


@pytest.mark.parametrize(
    ('break_it', 'settings', 'kind', 'words'),
    [
        (nothing, dict(data_root='/gone'), FileNotFoundError, ['`data_root`', '/gone', '--cfg-options']),
        (nothing, dict(data_prefix=dict(img_path='jpg')), FileNotFoundError, ["['img_path']", '/jpg']),
        (nothing, dict(data_prefix=dict(img_pth='img')), ValueError, ['img_pth', "'img_path'"]),
        (nothing, dict(ann_file='val.txt'), FileNotFoundError, ['`ann_file`', 'val.txt']),
        (write('train.txt', '\n'.join(['a', *'uvwxyz'])), LISTED, FileNotFoundError, ["['img_path']", '6 of 7']),
        (write('train.txt', '\n'), LISTED, ValueError, ['`ann_file`', 'train.txt', 'empty']),
        (nothing, dict(img_suffix='.png'), ValueError, ['`img_suffix`', "'.png'", '.jpg (3)']),
        (nothing, dict(label_file=None), ValueError, ['`label_file`', '{"id": ["cat", "dog"]', 'convert_labels.py']),
        (remove('labels.json'), {}, FileNotFoundError, ['`label_file`', 'labels.json', 'CSV']),
        (write('labels.json', '{"a.jpg": [], "A": []}'), {}, ValueError, ['`label_file`', 'labels.json', '2 of 3']),
        (write('train.txt', 'a\nb.JPG\nb'), LISTED, ValueError, ['`ann_file`', "'b.JPG' and 'b'"]),
        (copy('img/a.jpg', 'img/a.png'), dict(img_suffix=['.jpg', '.png']), ValueError, ['img', 'a.jpg and a.png']),
        (copy('img/a.jpg', 'img/d.JPG'), dict(**LISTED, img_suffix='.png'), FileNotFoundError, ['2 of 2 ids', '.png']),
        (nothing, dict(metainfo=dict(classes=['cat'])), ValueError, ['`metainfo`', "['cat']", 'background']),
        (nothing, dict(metainfo=dict(classes='background,cat')), ValueError, ['`metainfo`', "'background,cat'"]),
        (
            remove('mask/b.png'),
            dict(data_prefix=dict(img_path='img', seg_map_path='mask'), pipeline=VAL),
            FileNotFoundError,
            ["['seg_map_path']", '1 of 3', "'b'"],
        ),
    ],
)
def test_errors_name_field_value_and_remedy(folder, break_it, settings, kind, words):
    break_it(folder)
    refused(build, folder, words=words, errors=kind, **settings)
