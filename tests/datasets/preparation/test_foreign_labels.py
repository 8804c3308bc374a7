"""Labels of other projects, made into ours; those that numpy or pickle wrote."""

import codecs
import json
import os
import pickle

import numpy as np
import pytest

from afa_mmseg.datasets import COCOImageLevelDataset, VOCImageLevelDataset, read_label_file
from afa_mmseg.datasets.label_files import label_text
from afa_mmseg.datasets.preparation.foreign_labels import find_classes, read_foreign_labels
from afa_mmseg.datasets.preparation.pickled_labels import read_npy, read_pickle
from tests.refusal import refused

CLASSES = ('cat', 'dog', 'traffic light')
EXPECTED = {'a': ['cat', 'traffic light'], 'sub/b': ['dog'], 'c': []}
VECTORS = {'a': [1, 0, 1], 'sub/b': [0, 1, 0], 'c': [0, 0, 0]}
ROWS = ['a 1 0 1', 'sub/b 0 1 0', 'c 0 0 0']


def write(path, content):
    """Write a file in the form of its suffix."""
    if path.suffix == '.npy':
        np.save(path, content)
    elif path.suffix == '.pkl':
        path.write_bytes(pickle.dumps(content))
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ('name', 'content', 'options'),
    [
        ('a.npy', {i: np.array(v, np.float32) for i, v in VECTORS.items()}, {}),
        ('a.npy', {i: np.array(v, bool) for i, v in VECTORS.items()}, {}),
        ('a.pkl', VECTORS, {}),
        ('a.pkl', {'a': ['traffic light', 'cat'], 'sub/b': ['dog', 'dog'], 'c': []}, {}),
        ('a.txt', '\ufeff' + '\r\n\r\n'.join(ROWS) + '\r\n', {}),
        ('a.txt', '\n'.join(ROWS).replace(' ', ', ').replace('1', '1.0'), {}),
        ('a.csv', '\n'.join(ROWS).replace(' ', ','), {}),
        ('a.csv', 'id,cat,dog,traffic light\na,1,,1\nsub/b,0,1,0\nc,0,0,0\n', {}),
        ('a.tsv', 'id\tlabel\na\tcat\ttraffic light\nsub/b\tdog\nc\n', {}),
        ('a.txt', 'a\ttraffic light\tcat\nsub/b\tdog\nc\t\n', {}),
        ('a.json', json.dumps(VECTORS), {}),
        ('a.txt', '\n'.join(ROWS).replace(' ', '.JPG ', 1).replace('b 0', 'b.png 0'), {}),
    ],
)
def test_the_same_labels_from_each_form(tmp_path, name, content, options):
    assert read_foreign_labels(write(tmp_path / name, content), CLASSES, **options) == EXPECTED


def test_plain_array_with_a_list_of_ids(tmp_path):
    source = write(tmp_path / 'a.npy', np.array(list(VECTORS.values()), np.uint8))
    ids = write(tmp_path / 'ids.txt', b'\xef\xbb\xbfa.jpg\n\n sub/b.jpg \nc.jpg\n')
    assert read_foreign_labels(source, CLASSES, ids=str(ids)) == EXPECTED


def test_numbered_images_and_folders(tmp_path):
    source = write(tmp_path / 'a.npy', {9: np.array([1, 0, 0]), 581921: np.array([0, 1, 0])})
    expected = {'COCO_train2014_000000000009': ['cat'], 'COCO_train2014_000000581921': ['dog']}
    assert read_foreign_labels(source, CLASSES, id_format='COCO_train2014_{:012d}') == expected
    source = write(tmp_path / 'a.txt', '/VOC/JPEGImages/x.jpg 0 0 1\nJPEGImages\\y.jpg 0 1 0\n')
    assert read_foreign_labels(source, CLASSES, base_names=True) == {'x': ['traffic light'], 'y': ['dog']}


def test_names_stand_in_the_order_of_the_classes_and_permuting_these_permutes_vectors(tmp_path):
    source = write(tmp_path / 'a.pkl', VECTORS)
    assert read_foreign_labels(source, CLASSES[::-1]) == {'a': ['traffic light', 'cat'], 'sub/b': ['dog'], 'c': []}


@pytest.mark.parametrize(
    ('name', 'content', 'options', 'words'),
    [
        ('a.npy', {'x': np.ones(2)}, {}, ["'x'", '2 numbers', 'expected 3', '--classes']),
        ('a.npy', {'x': np.array([1, 0, np.nan])}, {}, ["'x'", 'nan', 'zeros and ones']),
        ('a.npy', {}, {}, ['no images']),
        ('a.npy', {9: np.ones(3)}, {}, ['id 9 is a number', '--id-format']),
        ('a.npy', {'x': np.ones(3)}, dict(id_format='{:03d}'), ['--id-format {:03d}', "'x'"]),
        ('a.npy', {9: np.ones(3), 8: np.ones(3)}, dict(id_format='COCO'), ["'COCO'"]),
        ('a.npy', {'x': np.ones(3)}, dict(ids='ids.txt'), ['ids of its own', 'ids.txt']),
        ('a.npy', np.eye(3), {}, ['shape (3, 3)', '--ids']),
        ('a.npy', np.eye(2), dict(ids='ids.txt'), ['shape (2, 2)', '3 ids']),
        ('a.pkl', {'x': [1, 'cat']}, {}, ["'x'", "[1, 'cat']"]),
        ('a.pkl', {'x.jpg': [1, 0, 0], 'x.png': [1, 0, 0]}, {}, ["'x'"]),
        ('a.pkl', {'../x': [1, 0, 0]}, {}, ["'../x'", 'stay in']),
        ('a.txt', 'x\ny\n', {}, ['no labels']),
        ('a.txt', 'x /SegmentationClassAug/x.png\n', {}, ['/SegmentationClassAug/x.png']),
        ('a.txt', 'x 1 0 0\nx 0 1 0\n', {}, ["'x'", 'twice']),
        ('a.txt', 'x traffic light\n', {}, ["'x'", "'traffic'", "'traffic light'"]),
        ('a.csv', 'id,cat,cow\nx,1,0\n', {}, ['header', "'cow'"]),
        ('a.npz', '', {}, ["'.npz'"]),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, name, content, options, words):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'ids.txt', 'x\ny\nz\n')
    source = write(tmp_path / name, content)
    refused(read_foreign_labels, source, CLASSES, words=[str(source), *words], errors=ValueError, **options)


def test_missing_files(tmp_path):
    refused(read_foreign_labels, tmp_path / 'gone.npy', CLASSES, words=['gone.npy'], errors=FileNotFoundError)
    refused(find_classes, None, tmp_path / 'gone.csv', words=['gone.csv'], errors=FileNotFoundError)
    refused(find_classes, 'voc2012', 'a.npy', words=['voc2012', 'voc, coco or a text file'], errors=FileNotFoundError)


# Classes


def test_classes_by_name_from_a_list_and_from_the_source(tmp_path):
    assert find_classes('voc', 'a.npy') == VOCImageLevelDataset.METAINFO['classes'][1:]
    assert find_classes('coco', 'a.npy') == COCOImageLevelDataset.METAINFO['classes'][1:]
    classes = write(tmp_path / 'classes.txt', b'\xef\xbb\xbfcat\r\n traffic light \r\n\r\ndog')
    assert find_classes(str(classes), 'a.npy') == ('cat', 'traffic light', 'dog')
    assert find_classes(None, write(tmp_path / 'a.csv', 'id,dog,cat\nx,0,1\n')) == ('dog', 'cat')
    assert find_classes(None, write(tmp_path / 'a.json', '{"x": ["dog", "cat"]}')) == ('cat', 'dog')


@pytest.mark.parametrize(
    ('content', 'word'), [('', 'empty'), ('cat\ncat\n', "'cat'"), ('Background\n', "'Background'")]
)
def test_bad_class_lists(tmp_path, content, word):
    path = write(tmp_path / 'classes.txt', content)
    refused(find_classes, str(path), 'a.npy', words=['class list', str(path), word])


@pytest.mark.parametrize(('name', 'content'), [('a.npy', VECTORS), ('a.csv', 'x,1,0\n'), ('a.txt', 'x cat\n')])
def test_a_file_that_does_not_name_its_classes(tmp_path, name, content):
    refused(find_classes, None, write(tmp_path / name, content), words=[name, '--classes'])


# Writing


def test_what_is_written_is_read_by_the_data_set_and_does_not_depend_on_order(tmp_path):
    labels = {'z\u00e9"': ['dog'], **EXPECTED}
    text = label_text(labels)
    assert text == label_text(dict(reversed(labels.items())))
    assert read_label_file(write(tmp_path / 'out.json', text), CLASSES) == labels
    assert json.loads(label_text({})) == {}


# What numpy or pickle wrote


class Call:
    """Loading it calls a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def test_the_names_of_older_and_newer_numpy(tmp_path):
    current, other = b'numpy._core.multiarray', b'numpy.core.multiarray'
    data = pickle.dumps({'a': np.array([1, 0], np.float32)}, protocol=2)
    current, other = (current, other) if current in data else (other, current)
    assert current in data
    (tmp_path / 'labels.pkl').write_bytes(data.replace(current, other))
    assert read_pickle(tmp_path / 'labels.pkl') == {'a': [1, 0]}


@pytest.mark.parametrize('protocol', range(6))
def test_a_pickled_dict(tmp_path, protocol):
    content = {'a': np.array([1, 0, 1], np.float32), 'c': ['cat', 'dog'], 4: (1, 2), 'd': [np.int64(3)]}
    (tmp_path / 'labels.pkl').write_bytes(pickle.dumps(content, protocol))
    assert read_pickle(tmp_path / 'labels.pkl') == {'a': [1, 0, 1], 'c': ['cat', 'dog'], 4: [1, 2], 'd': [3]}


@pytest.mark.parametrize(
    ('call', 'name'),
    [
        ((os.system, 'touch flag'), f'{os.system.__module__}.system'),
        ((eval, 'open("flag", "w")'), '.eval'),
        ((np.load, 'flag'), 'numpy.load'),
        ((codecs.encode, 'flag', 'rot13'), 'rot13'),
    ],
)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_file_that_calls_functions_is_refused_by_name(tmp_path, monkeypatch, call, name, protocol):
    monkeypatch.chdir(tmp_path)
    for content in (Call(*call), {'x': np.ones(2), 'y': Call(*call)}, {'x': np.array([Call(*call), 1], object)}):
        (tmp_path / 'labels.pkl').write_bytes(pickle.dumps(content, protocol))
        refused(read_pickle, tmp_path / 'labels.pkl', words=['labels.pkl', 'refused', name])
        np.save(tmp_path / 'labels.npy', np.array(content, object))
        refused(read_npy, tmp_path / 'labels.npy', words=['labels.npy', 'refused', name])
    assert not (tmp_path / 'flag').exists()


def test_truncated_files(tmp_path):
    for content in ({'a': np.ones(3)}, np.eye(20)):
        np.save(tmp_path / 'labels.npy', content)
        data = (tmp_path / 'labels.npy').read_bytes()
        for length in range(0, len(data), 40):
            (tmp_path / 'labels.npy').write_bytes(data[:length])
            refused(read_npy, tmp_path / 'labels.npy', words=['labels.npy'])


@pytest.mark.parametrize('content', [['a', 'b'], np.zeros((2, 3)), {'a': 1.0}, {'a': np.zeros((1, 20))}, {(1, 2): [1]}])
def test_content_that_is_no_label_file(tmp_path, content):
    refused(read_pickle, write(tmp_path / 'labels.pkl', content), words=['labels.pkl', 'dict {id: labels}'])
