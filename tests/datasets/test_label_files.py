"""Reading of image-level labels."""

import json
import pickle

import pytest

from afa_mmseg.datasets import read_label_file, read_voc_xml

CLASSES = ('cat', 'dog', 'dining table')


def test_json_of_names_and_one_hot_lists(tmp_path):
    file = tmp_path / 'labels.json'
    labels = {'x': ['dog', 'cat', 'dog'], 'sub/y': [0, 1, 1], 'z': [0.0, 0.0, 0.0], 'none': []}
    file.write_text(json.dumps(labels))
    assert read_label_file(file, CLASSES) == {
        'x': ['dog', 'cat'],
        'sub/y': ['dog', 'dining table'],
        'z': [],
        'none': [],
    }


@pytest.mark.parametrize('bom', [b'', b'\xef\xbb\xbf'])
@pytest.mark.parametrize('header', [b'', b'id,label,label\r\n', b'ID,labels\r\n'])
def test_csv(tmp_path, bom, header):
    file = tmp_path / 'labels.csv'
    file.write_bytes(bom + header + b'x,dog,cat\r\n\r\n y , "dining table",,\r\nz\r\nw\xc3\xa9,cat')
    assert read_label_file(file, CLASSES) == {
        'x': ['dog', 'cat'],
        'y': ['dining table'],
        'z': [],
        'w\u00e9': ['cat'],
    }


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.json', '{"x": ["cot"]}', ['a.json', "'x'", "'cot'", "did you mean 'cat'", 'cat, dog, dining table']),
        ('a.csv', 'x,Dog\n', ['a.csv', "'x'", "'Dog'", "did you mean 'dog'", 'metainfo']),
        ('a.json', '{"x": [0, 1]}', ["'x'", 'length 2', 'expected 3', 'cat, dog, dining table']),
        ('a.json', '{"x": [0, 2, 0]}', ["'x'", '[0, 2, 0]', 'one-hot list of 3']),
        ('a.json', '{"x": "cat"}', ["'x'", "'cat'", '["cat", "dog"]']),
        ('a.json', '{"x": ["cat", 1]}', ["'x'", 'neither']),
        ('a.json', '["x"]', ['a.json', 'list', '{"id": ["cat", "dog"]']),
        ('a.json', '{"x": ', ['a.json', 'not valid JSON', 'column 7']),
        ('a.json', '{"x": [], "y": [], "x": ["cat"]}', ["'x'", 'twice']),
        ('a.csv', 'x,cat\ny\nx,dog\n', ['a.csv', "'x'", 'twice']),
        ('a.npy', '', ['.npy', '`label_file`', '.json', '.csv', 'runs whatever code']),
        ('a.pkl', '', ['.pkl', 'runs whatever code']),
    ],
)
def test_bad_label_file_is_named_with_value_and_remedy(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as error:
        read_label_file(tmp_path / name, CLASSES)
    assert [word for word in words if word not in str(error.value)] == []


def test_a_pickle_under_another_name_is_not_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / 'sprung'), 'w'))

    for name in ('labels.json', 'labels.csv', 'labels.npy'):
        (tmp_path / name).write_bytes(pickle.dumps({'x': Trap()}))
        with pytest.raises(ValueError):
            read_label_file(tmp_path / name, CLASSES)
    assert not (tmp_path / 'sprung').exists()


def test_missing_label_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone\.csv'):
        read_label_file(tmp_path / 'gone.csv', CLASSES)


def test_xml_gives_every_object_and_no_parts(tmp_path):
    file = tmp_path / 'a.xml'
    file.write_text(
        '<annotation><object><name>person</name><part><name>head</name></part></object>'
        '<object><name> dog\n</name><difficult>1</difficult></object><object><name>person</name></object></annotation>'
    )
    assert read_voc_xml(file) == ['person', 'dog', 'person']


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('<annotation><object>', ['a.xml', 'not valid XML', 'fetch it again']),
        ('', ['a.xml', 'not valid XML']),
        ('<annotation><object><name>cat</name></object><object/></annotation>', ['a.xml', 'object 2', '<name>']),
    ],
)
def test_bad_xml(tmp_path, text, words):
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(ValueError) as error:
        read_voc_xml(tmp_path / 'a.xml')
    assert [word for word in words if word not in str(error.value)] == []
