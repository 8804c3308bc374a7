"""Label files that numpy or pickle wrote."""

import os
import pickle
import random
import struct

import numpy as np
import pytest

from afa_mmseg.datasets.preparation.pickled_labels import read_npy, read_pickle

LABELS = {'2007_000032': np.array([1, 0, 1], np.float32), '2007_000033': np.array([0, 0, 0], np.float32)}
LISTS = {'2007_000032': [1, 0, 1], '2007_000033': [0, 0, 0]}


class Touch:
    """Loading it runs a command."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.system, (f'touch {self.flag}',)


def write_npy(path, header, data, version=(1, 0)):
    """Write an `.npy` file with any header."""
    head = header.encode('latin-1') + b'\n'
    path.write_bytes(
        b'\x93NUMPY' + bytes(version) + struct.pack('<H' if version[0] == 1 else '<I', len(head)) + head + data
    )
    return path


def test_a_dict_that_numpy_saved(tmp_path):
    np.save(tmp_path / 'labels.npy', LABELS)
    assert read_npy(tmp_path / 'labels.npy') == LISTS


@pytest.mark.parametrize('protocol', range(6))
def test_a_pickled_dict(tmp_path, protocol):
    (tmp_path / 'labels.pkl').write_bytes(pickle.dumps({**LABELS, 'c': ['cat', 'dog'], 4: (1, 2)}, protocol))
    assert read_pickle(tmp_path / 'labels.pkl') == {**LISTS, 'c': ['cat', 'dog'], 4: [1, 2]}


@pytest.mark.parametrize('dtype', ['?', 'u1', '<i8', '>i2', '<f4', '>f8', 'f2'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_plain_arrays(tmp_path, dtype, order):
    array = np.array([[0, 1, 0], [1, 1, 0]], dtype, order=order)
    np.save(tmp_path / 'labels.npy', array)
    found = read_npy(tmp_path / 'labels.npy')
    assert found.tolist() == array.tolist()
    assert found.dtype == np.load(tmp_path / 'labels.npy').dtype


def test_a_header_of_format_2(tmp_path):
    with (tmp_path / 'labels.npy').open('wb') as file:
        np.lib.format.write_array(file, np.eye(3), version=(2, 0))
    assert read_npy(tmp_path / 'labels.npy').tolist() == np.eye(3).tolist()


@pytest.mark.parametrize('content', ['whole', 'value', 'array'])
def test_a_file_that_would_run_a_command_is_refused(tmp_path, content):
    flag = tmp_path / 'flag'
    data = {
        'whole': Touch(flag),
        'value': {**LABELS, 'x': Touch(flag)},
        'array': {**LABELS, 'x': np.array([Touch(flag), 1], object)},
    }[content]
    (tmp_path / 'labels.pkl').write_bytes(pickle.dumps(data))
    np.save(tmp_path / 'labels.npy', np.array(data, object))
    for name, read in (('labels.pkl', read_pickle), ('labels.npy', read_npy)):
        with pytest.raises(ValueError) as error:
            read(tmp_path / name)
        assert str(error.value) == (
            f'label file {tmp_path / name}: refused: the file asks for {os.system.__module__}.system; '
            'label files hold only dicts, strings and numpy arrays. Nothing of it was run.'
        )
    assert not flag.exists()
    np.load(tmp_path / 'labels.npy', allow_pickle=True)
    assert flag.exists()


@pytest.mark.parametrize(
    ('header', 'data', 'words'),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}", b'abcd', '4 bytes follow'),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}", b'abcd', 'promises shape (-1, -1)'),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", b'abcdefgh', '8 bytes follow'),
        ("{'descr': '|V8', 'fortran_order': False, 'shape': (1,)}", b'abcdefgh', 'dtype |V8'),
        ("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,)}", b'', 'dtype <U0'),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", b'abcd', 'one-hot labels are numbers'),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", b'N.', 'holds NoneType, not a dict'),
        ("{'descr': '|O', 'fortran_order': False, 'shape': ()}", b'', 'damaged'),
        ("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': ()}", b'', 'malformed node'),
        ("{'descr': '<f4', 'shape': ()}", b'abcd', 'keys'),
        ("{'descr': '<f4", b'', 'damaged'),
        ('(' * 9000, b'', 'damaged'),
        ('-' * 9000 + '1', b'', 'damaged'),
        ("{'a': " * 200 + '1' + '}' * 200, b'', 'damaged'),
        (' ' * 20_000, b'', 'large'),
    ],
)
def test_bad_headers(tmp_path, header, data, words):
    path = write_npy(tmp_path / 'labels.npy', header, data)
    with pytest.raises(ValueError) as error:
        read_npy(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'', 'no .npy file'),
        (b'PK\x03\x04', 'no .npy file'),
        (b'\x93NUMPY\x03\x00', 'no .npy file of format 1 or 2'),
        (b'\x93NUMPY\x01\x00\xff', 'no .npy file'),
    ],
)
def test_files_that_are_no_npy(tmp_path, data, words):
    (tmp_path / 'labels.npy').write_bytes(data)
    with pytest.raises(ValueError) as error:
        read_npy(tmp_path / 'labels.npy')
    assert words in str(error.value)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (['a', 'b'], 'holds list, not a dict {id: labels}'),
        (np.zeros((2, 3)), 'holds array of shape (2, 3), not a dict'),
        ({'a': 1.0}, "id 'a': holds float, not an array with one axis or a list"),
        ({'a': np.array(1.0)}, "id 'a': holds array of shape ()"),
        ({'a': np.zeros((1, 20))}, "id 'a': holds array of shape (1, 20)"),
        ({'a': {'cat': 1}}, "id 'a': holds dict"),
        ({'a': 'cat'}, "id 'a': holds str"),
        ({(1, 2): [1]}, '(1, 2) is a key'),
        ({b'a': [1]}, "b'a' is a key"),
    ],
)
def test_content_that_is_no_label_file(tmp_path, content, words):
    (tmp_path / 'labels.pickle').write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError) as error:
        read_pickle(tmp_path / 'labels.pickle')
    assert str(tmp_path / 'labels.pickle') in str(error.value)
    assert words in str(error.value)


def test_any_damage_of_the_header_gives_data_or_a_value_error(tmp_path):
    np.save(tmp_path / 'labels.npy', LABELS)
    valid = (tmp_path / 'labels.npy').read_bytes()
    rng, outcomes = random.Random(0), set()
    for _ in range(500):
        data = bytearray(valid)
        at = rng.randrange(150)
        data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        (tmp_path / 'labels.npy').write_bytes(data)
        try:
            outcomes.add(type(read_npy(tmp_path / 'labels.npy')))
        except ValueError:
            outcomes.add(ValueError)
    assert outcomes == {dict, ValueError}
