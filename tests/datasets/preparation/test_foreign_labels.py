"""Labels of other projects, made into ours."""

import json
import pickle

import numpy as np
import pytest

from afa_mmseg.datasets import COCOImageLevelDataset, VOCImageLevelDataset, read_label_file
from afa_mmseg.datasets.label_files import label_text
from afa_mmseg.datasets.preparation.foreign_labels import compare_labels, find_classes, read_foreign_labels

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
        ('a.pkl', {'a': [2, 0], 'sub/b': (1,), 'c': []}, dict(index_base=0)),
        ('a.pkl', {'a': np.array([3, 1]), 'sub/b': [np.int64(2)], 'c': []}, dict(index_base=1)),
        ('a.txt', '\n'.join(ROWS), {}),
        ('a.txt', '\ufeff' + '\r\n\r\n'.join(ROWS) + '\r\n', {}),
        ('a.txt', '\n'.join(ROWS).replace(' ', ', ').replace('1', '1.0'), {}),
        ('a.csv', '\n'.join(ROWS).replace(' ', ','), {}),
        ('a.csv', 'id,cat,dog,traffic light\na,1,,1\nsub/b,0,1,0\nc,0,0,0\n', {}),
        ('a.tsv', 'id\tlabel\na\tcat\ttraffic light\nsub/b\tdog\nc\n', {}),
        ('a.txt', 'a\ttraffic light\tcat\nsub/b\tdog\nc\t\n', {}),
        ('a.txt', 'a,cat,traffic light,,\nsub/b,dog,,,\nc,,,,\n', {}),
        ('a.txt', 'a 2 0\nsub/b 1\nc\n', dict(index_base=0)),
        ('a.csv', 'a,3,1\nsub/b,2\nc\n', dict(index_base=1)),
        ('a.json', json.dumps(VECTORS), {}),
        ('a.json', '{"a": ["traffic light", "cat"], "sub/b": ["dog"], "c": []}', {}),
        ('a.txt', '\n'.join(ROWS).replace(' ', '.JPG ', 1).replace('b 0', 'b.png 0'), {}),
    ],
)
def test_the_same_labels_from_each_form(tmp_path, name, content, options):
    assert read_foreign_labels(write(tmp_path / name, content), CLASSES, **options) == EXPECTED


def test_plain_array_with_a_list_of_ids(tmp_path):
    source = write(tmp_path / 'a.npy', np.array(list(VECTORS.values()), np.uint8))
    ids = write(tmp_path / 'ids.txt', b'\xef\xbb\xbfa.jpg\n\n sub/b.jpg \nc.jpg\n')
    assert read_foreign_labels(source, CLASSES, ids=str(ids)) == EXPECTED


@pytest.mark.parametrize(
    ('name', 'content'),
    [('a.csv', 'id,cat,dog,traffic light\nx,0,0,0\n'), ('a.csv', 'id,label\nx\n'), ('a.pkl', {'x': []})],
)
def test_a_file_in_which_no_image_shows_anything(tmp_path, name, content):
    assert read_foreign_labels(write(tmp_path / name, content), CLASSES) == {'x': []}


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
        ('a.npy', {'x': np.ones(2)}, {}, ["'x'", '2 numbers', 'expected 3', '--classes', '--index-base']),
        ('a.npy', {'x': np.array([1, 0, 0.5])}, {}, ["'x'", '0.5', 'zeros and ones']),
        ('a.npy', {'x': np.array([1, 0, np.nan])}, {}, ["'x'", 'nan', 'zeros and ones']),
        ('a.npy', {}, {}, ['no images']),
        ('a.npy', {9: np.ones(3)}, {}, ['id 9 is a number', '--id-format']),
        ('a.npy', {'x': np.ones(3)}, dict(id_format='{:03d}'), ['--id-format {:03d}', "'x'"]),
        ('a.npy', {9: np.ones(3)}, dict(id_format='{name}'), ['--id-format {name}', '9']),
        ('a.npy', {9: np.ones(3), 8: np.ones(3)}, dict(id_format='COCO'), ["'COCO'"]),
        ('a.npy', {'x': np.ones(3)}, dict(ids='ids.txt'), ['ids of its own', 'ids.txt']),
        ('a.npy', np.eye(3), {}, ['shape (3, 3)', '--ids']),
        ('a.npy', np.eye(2), dict(ids='ids.txt'), ['shape (2, 2)', '3 ids']),
        ('a.npy', np.eye(3), dict(ids='twice.txt'), ['twice.txt', "'x'"]),
        ('a.npy', np.eye(3), dict(ids='blank.txt'), ['list of ids', 'blank.txt', 'empty']),
        ('a.pkl', {'x': [1, 'cat']}, {}, ["'x'", "[1, 'cat']"]),
        ('a.pkl', {'x': ['cat'], 'y': [0, 1, 0]}, {}, ["'y'", '[0, 1, 0]']),
        ('a.pkl', {'x': [None]}, {}, ["'x'", '[None]']),
        ('a.pkl', {'x': [3]}, dict(index_base=0), ["'x'", 'value 3', '0 to 2']),
        ('a.pkl', {'x': [0]}, dict(index_base=1), ["'x'", 'value 0', '1 to 3']),
        ('a.pkl', {'x.jpg': [1, 0, 0], 'x.png': [1, 0, 0]}, {}, ["'x'"]),
        ('a.pkl', {'../x': [1, 0, 0]}, {}, ["'../x'", 'stay in']),
        ('a.txt', '', {}, ['no labels']),
        ('a.txt', 'x\ny\n', {}, ['no labels']),
        ('a.txt', '/JPEGImages/x.jpg /SegmentationClassAug/x.png\n', {}, ['/SegmentationClassAug/x.png']),
        ('a.txt', 'x cat 1\n', {}, ["'1'", "'cat'"]),
        ('a.txt', 'id cat dog\nx 0 1\n', {}, ["'cat'", '.csv']),
        ('a.txt', 'x 1 0 0\nx 0 1 0\n', {}, ["'x'", 'twice']),
        ('a.txt', 'x 0 0 0\ny\n', {}, ["'y'", '0 numbers']),
        ('a.txt', 'x traffic light\n', {}, ["'x'", "'traffic'", "'traffic light'"]),
        ('a.txt', '\tcat\nx\tdog\n', {}, ['line 1', 'no id']),
        ('a.csv', 'x,1,0\n', {}, ["'x'", '2 numbers', 'expected 3']),
        ('a.csv', 'id,label\nx,cat\n', dict(index_base=0), ['--index-base', 'names']),
        ('a.json', '{"x": [0, NaN, 1]}', {}, ["'x'", 'nan']),
        ('a.json', '{}', {}, ['no images']),
        ('a.json', '{"x": [0]}', dict(index_base=0), ['--index-base']),
        ('a.npz', '', {}, ["'.npz'", '.npy']),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, name, content, options, words):
    monkeypatch.chdir(tmp_path)
    for list_name, text in (('ids.txt', 'x\ny\nz\n'), ('twice.txt', 'x\ny\nx\n'), ('blank.txt', '\n')):
        write(tmp_path / list_name, text)
    source = write(tmp_path / name, content)
    with pytest.raises(ValueError) as error:
        read_foreign_labels(source, CLASSES, **options)
    assert [word for word in words if word not in str(error.value)] == []
    assert str(source) in str(error.value) or 'list of ids' in str(error.value)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.npy'):
        read_foreign_labels(tmp_path / 'gone.npy', CLASSES)
    with pytest.raises(FileNotFoundError, match='gone.csv'):
        find_classes(None, tmp_path / 'gone.csv')
    with pytest.raises(FileNotFoundError, match=r'voc2012(.|\n)*voc, coco or a text file'):
        find_classes('voc2012', tmp_path / 'a.npy')
    source = write(tmp_path / 'a.npy', np.eye(3))
    with pytest.raises(FileNotFoundError, match='gone.txt'):
        read_foreign_labels(source, CLASSES, ids=str(tmp_path / 'gone.txt'))


# Classes


def test_class_lists_by_name_are_those_of_the_data_sets(tmp_path):
    assert find_classes('voc', 'a.npy') == VOCImageLevelDataset.METAINFO['classes'][1:]
    assert find_classes('coco', 'a.npy') == COCOImageLevelDataset.METAINFO['classes'][1:]
    assert [len(find_classes(name, 'a.npy')) for name in ('voc', 'coco')] == [20, 80]


def test_class_list_of_a_file_and_of_a_header(tmp_path):
    classes = write(tmp_path / 'classes.txt', b'\xef\xbb\xbfcat\r\n traffic light \r\n\r\ndog')
    assert find_classes(str(classes), 'a.npy') == ('cat', 'traffic light', 'dog')
    table = write(tmp_path / 'a.csv', 'id,dog,cat\nx,0,1\n')
    assert find_classes(None, table) == ('dog', 'cat')


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('', ['empty']),
        ('cat\ndog\ncat\n', ["'cat'"]),
        ('Background\ncat\n', ["'Background'"]),
        (b'cat\n\xff\xfe\n', ['line 2', 'UTF-8']),
    ],
)
def test_bad_class_lists(tmp_path, content, words):
    path = write(tmp_path / 'classes.txt', content)
    with pytest.raises(ValueError) as error:
        find_classes(str(path), 'a.npy')
    assert [word for word in ['class list', str(path), *words] if word not in str(error.value)] == []


@pytest.mark.parametrize(('name', 'content'), [('a.npy', VECTORS), ('a.csv', 'x,1,0\n'), ('a.txt', 'x cat\n')])
def test_a_file_that_does_not_name_its_classes(tmp_path, name, content):
    with pytest.raises(ValueError, match=r'a\.(npy|csv|txt)(.|\n)*--classes'):
        find_classes(None, write(tmp_path / name, content))


# Writing and comparing


def test_what_is_written_is_read_by_the_data_set_and_does_not_depend_on_order(tmp_path):
    labels = {'z\u00e9"': ['dog'], **EXPECTED}
    text = label_text(labels)
    assert text == label_text(dict(reversed(labels.items())))
    assert read_label_file(write(tmp_path / 'out.json', text), CLASSES) == labels
    assert '"a": ["cat", "traffic light"],\n' in text
    assert json.loads(label_text({})) == {}


def test_differences():
    assert compare_labels(EXPECTED, {i: names[::-1] for i, names in EXPECTED.items()}, 'one', 'two') == []
    theirs = {'a': ['cat', 'dog'], 'c': ['dog'], 'x': ['cat'], 'y': []}
    assert compare_labels(EXPECTED, theirs, 'one', 'two') == [
        "1 ids only in one: 'sub/b'",
        "2 ids only in two: 'x', 'y'",
        '2 of the 2 ids in both have different labels:',
        '  a: traffic light only in one; dog only in two',
        '  c: dog only in two',
    ]
