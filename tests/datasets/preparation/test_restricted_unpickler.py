"""The restricted unpickler, with pickles that are data and with pickles that are not."""

import pickle
import random
import sys
import time
import tracemalloc

import numpy as np
import pytest

from afa_mmseg.datasets.preparation.pickled_arrays import PickledArray
from afa_mmseg.datasets.preparation.restricted_unpickler import unpickle
from tests.datasets.preparation import hostile_pickles

PROTOCOLS = range(6)
DTYPES = ['?', 'i1', 'u1', '<i2', '>i4', '<i8', '<u8', '<f2', '>f4', '<f8', '<U3', '>U2']
REFUSAL = 'label files hold only dicts, strings and numpy arrays. Nothing of it was run.'


def plain(value):
    """Lists in place of arrays, and Python's own numbers and strings."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, PickledArray):
        return np.reshape(np.array(value.items, dtype=object), value.shape).tolist()
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('dtype', DTYPES)
def test_arrays_come_out_as_they_went_in(protocol, dtype):
    array = np.array([0, 1, 1, 0, 1]).astype(dtype)
    data = {'a': array, 'b': array[::2], 3: array[2], np.str_('key'): array.reshape(5, 1), '\u00e9\n': array[:1]}
    found = unpickle(pickle.dumps(data, protocol))
    assert plain(found) == plain(data)
    assert [type(key) for key in found] == [str, str, int, str, str]
    assert found['a'].shape == (5,)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_plain_data_and_arrays_of_objects(protocol):
    data = [
        None,
        True,
        0,
        255,
        65536,
        -(2**40),
        0.5,
        'x',
        '\u20ac' * 300,
        (),
        (1,),
        [(1, 2), (1, 2, 3, 4)],
        {},
        {1: {}},
    ]
    assert unpickle(pickle.dumps(data, protocol)) == data
    wrapped = unpickle(pickle.dumps(np.array({'a': 'cat'}, dtype=object), protocol))
    assert (wrapped.shape, wrapped.items) == ((), [{'a': 'cat'}])


def test_arrays_that_share_memory_and_names():
    array = np.ones(3, 'f4')
    found = unpickle(pickle.dumps({'a': array, 'b': array, 'c': np.zeros(3, 'f4')}, 2))
    assert found['a'] is found['b']
    assert found['c'].items == [0, 0, 0]


@pytest.mark.parametrize('protocol', [0, 1, 2])
@pytest.mark.parametrize(('old', 'new'), [('numpy.core', 'numpy._core'), ('numpy._core', 'numpy.core')])
def test_names_of_numpy_1_and_2(protocol, old, new):
    data = pickle.dumps({'a': np.ones(2), 'b': np.float32(1)}, protocol).replace(old.encode(), new.encode())
    assert plain(unpickle(data)) == {'a': [1, 1], 'b': 1}


def test_strings_of_python_2_hold_bytes():
    data = (
        b'}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
        b'(K\x01K\x02\x85cnumpy\ndtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
        b'\x89U\x04\x00\xff\x01\x00tbs.'
    )
    assert plain(unpickle(data)) == plain(pickle.loads(data, encoding='latin1')) == {'a': [255, 256]}


# Refused


@pytest.fixture
def audited():
    """What Python is asked to do, as its audit events: imports, files, processes, names that `pickle` looks up."""
    events = []
    recording = True
    sys.addaudithook(lambda event, _: events.append(event) if recording else None)
    yield events
    recording = False


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('name', hostile_pickles.calls(''))
def test_a_call_is_refused_by_name_and_not_made(tmp_path, audited, protocol, name):
    flag = tmp_path / 'flag'
    data = pickle.dumps({'2007_000032': hostile_pickles.calls(flag)[name]}, protocol)
    if protocol < 3:  # names of Python 2
        name = name.replace('builtins', '__builtin__')
    if protocol < 2 and name.endswith('Plain'):
        name = 'copy_reg._reconstructor'
    audited.clear()
    with pytest.raises(ValueError) as error:
        unpickle(data)
    assert audited == []
    assert not flag.exists()
    assert str(error.value) == f'refused: the file asks for {name}; {REFUSAL}'


def test_the_calls_above_would_do_harm(tmp_path):
    """What is refused does work: loaded by `pickle`, some of it makes the file."""
    made = set()
    for name, call in hostile_pickles.calls(tmp_path / 'flag').items():
        try:
            pickle.loads(pickle.dumps(call))
        except OSError:
            continue
        if (tmp_path / 'flag').exists():
            made.add(name.split('.')[-1])
            (tmp_path / 'flag').unlink()
    assert made == {'system', 'eval', 'exec', 'open'}


@pytest.mark.parametrize('name', hostile_pickles.handmade())
def test_other_instructions_are_refused(audited, name):
    data, words = hostile_pickles.handmade()[name]
    audited.clear()
    with pytest.raises(ValueError) as error:
        unpickle(data)
    assert audited == []
    assert str(error.value).startswith('refused: the file asks for ')
    assert words in str(error.value)
    assert str(error.value).endswith(REFUSAL)


def test_what_was_refused_leaves_no_trace_for_later_files():
    data = pickle.dumps({'a': np.ones(2)})
    before = plain(unpickle(data))
    for hostile, _ in {**hostile_pickles.handmade(), **hostile_pickles.bombs()}.values():
        with pytest.raises(ValueError):
            unpickle(hostile)
    assert plain(unpickle(data)) == before


@pytest.mark.parametrize('name', hostile_pickles.bombs())
def test_a_small_file_takes_little_memory_and_time(name):
    data, words = hostile_pickles.bombs()[name]
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(ValueError) as error:
            unpickle(data)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(data) + 2**21
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 20
    assert words in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize('opening', [b']', b'}K\x01'])
def test_deep_nesting_is_read_and_freed(opening):
    closing = b'a' if opening == b']' else b's'
    found = unpickle(opening * 100_000 + b'N' + closing * 100_000 + b'.')
    assert len(found) == 1
    del found


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'', 'damaged'),
        (b'\x80\x02', 'exhausted before seeing STOP'),
        (b'not a pickle', 'damaged'),
        (b'.', 'does not leave one value'),
        (b'}}.', 'does not leave one value'),
        (b'(}.', 'does not leave one value'),
        (b'}h\x05.', 'damaged'),
        (b'}K\x01s.', 'lacks its operands'),
        (b'}(K\x01u.', 'a key without a value'),
        (b'}(U\x01aNU\x01aNu.', 'key a is there twice'),
        (b'}NNs.', 'None is a key; keys are strings or whole numbers'),
        (b'}\x88Ns.', 'True is a key'),
        (b'}.}.', '2 bytes stand after the pickle'),
        (b'cnumpy\ndtype\n(tR.', "missing 1 required positional argument: 'code'"),
    ],
)
def test_damaged_pickles(data, words):
    with pytest.raises(ValueError) as error:
        unpickle(data)
    assert words in str(error.value)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_whatever_bytes_give_data_or_a_value_error(audited, protocol):
    """Bytes are changed, cut out and doubled at random, 1500 times."""
    rng = random.Random(protocol)
    valid = pickle.dumps(
        {'a': np.array([1, 0], 'f4'), 'b': [1, 'x', None], 3: np.str_('ab'), 'c': np.int64(1)}, protocol
    )
    refused = 0
    audited.clear()
    for _ in range(1500):
        data = bytearray(valid)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            change = rng.choice(['set', 'cut', 'double'])
            if change == 'set':
                data[at] = rng.randrange(256)
            elif change == 'cut':
                del data[at : at + rng.randint(1, 8)]
            else:
                data[at:at] = data[at : at + rng.randint(1, 8)]
        try:
            unpickle(bytes(data))
        except ValueError:
            refused += 1
    assert audited == []
    assert 1000 < refused < 1500
