"""Label files that numpy or pickle wrote."""

import codecs
import operator
import os
import pickle

import numpy as np
import pytest

from afa_mmseg.datasets.preparation.pickled_labels import read_npy, read_pickle
from tests import refusal

LABELS = {'2007_000032': np.array([1, 0, 1], np.float32), '2007_000033': np.array([0, 0, 0], np.float32)}
LISTS = {'2007_000032': [1, 0, 1], '2007_000033': [0, 0, 0]}


class Call:
    """Loading it calls a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def refused(read, path, *words):
    refusal.refused(read, path, words=[str(path), *words])


def test_the_names_of_older_and_newer_numpy(tmp_path):
    current, other = b'numpy._core.multiarray', b'numpy.core.multiarray'
    data = pickle.dumps(LABELS, protocol=2)
    if current not in data:
        current, other = other, current
    assert current in data
    (tmp_path / 'labels.pkl').write_bytes(data.replace(current, other))
    assert read_pickle(tmp_path / 'labels.pkl') == LISTS


@pytest.mark.parametrize('protocol', range(6))
def test_a_pickled_dict(tmp_path, protocol):
    content = {**LABELS, 'c': ['cat', 'dog'], 4: (1, 2), 'd': [np.int64(3)]}
    (tmp_path / 'labels.pkl').write_bytes(pickle.dumps(content, protocol))
    assert read_pickle(tmp_path / 'labels.pkl') == {**LISTS, 'c': ['cat', 'dog'], 4: [1, 2], 'd': [3]}


@pytest.mark.parametrize('dtype', ['?', '>i2', '<f4'])
def test_plain_arrays(tmp_path, dtype):
    array = np.array([[0, 1, 0], [1, 1, 0]], dtype)
    np.save(tmp_path / 'labels.npy', array)
    assert read_npy(tmp_path / 'labels.npy').tolist() == array.tolist()


@pytest.mark.parametrize(
    ('call', 'name'),
    [
        ((os.system, 'touch flag'), f'{os.system.__module__}.system'),
        ((eval, 'open("flag", "w")'), '.eval'),
        ((getattr, 'a', 'join'), '.getattr'),
        ((operator.attrgetter, 'a'), 'operator.attrgetter'),
        ((np.load, 'flag'), 'numpy.load'),
        ((codecs.encode, 'flag', 'rot13'), 'rot13'),
    ],
)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_file_that_calls_functions_is_refused_by_name(tmp_path, monkeypatch, call, name, protocol):
    monkeypatch.chdir(tmp_path)
    for content in (Call(*call), {**LABELS, 'x': Call(*call)}, {'x': np.array([Call(*call), 1], object)}):
        (tmp_path / 'labels.pkl').write_bytes(pickle.dumps(content, protocol))
        refused(read_pickle, tmp_path / 'labels.pkl', 'refused', name)
        np.save(tmp_path / 'labels.npy', np.array(content, object))
        refused(read_npy, tmp_path / 'labels.npy', 'refused', name)
    assert not (tmp_path / 'flag').exists()


@pytest.mark.parametrize(
    'data', [b'', b'PK\x03\x04', b'\x93NUMPY\x03\x00', b'\x93NUMPY\x01\x00\xff', b'\x93NUMPY\x01\x00\x02\x00{\n']
)
def test_files_that_are_no_npy(tmp_path, data):
    (tmp_path / 'labels.npy').write_bytes(data)
    refused(read_npy, tmp_path / 'labels.npy', '.npy')


def test_truncated_files(tmp_path):
    for content in (LABELS, np.eye(20)):
        np.save(tmp_path / 'labels.npy', content)
        data = (tmp_path / 'labels.npy').read_bytes()
        for length in range(0, len(data), 40):
            (tmp_path / 'labels.npy').write_bytes(data[:length])
            refused(read_npy, tmp_path / 'labels.npy')


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (['a', 'b'], 'list'),
        (np.zeros((2, 3)), 'shape (2, 3)'),
        ({'a': 1.0}, "id 'a': holds float"),
        ({'a': np.zeros((1, 20))}, "id 'a': holds an array of shape (1, 20)"),
        ({'a': 'cat'}, "id 'a': holds str"),
        ({(1, 2): [1]}, '(1, 2) is a key'),
    ],
)
def test_content_that_is_no_label_file(tmp_path, content, words):
    (tmp_path / 'labels.pickle').write_bytes(pickle.dumps(content))
    refused(read_pickle, tmp_path / 'labels.pickle', words)
