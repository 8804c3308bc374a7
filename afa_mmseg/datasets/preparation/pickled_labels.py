"""Label files that numpy or pickle wrote, read by an unpickler that admits arrays and nothing else."""

import pickle
import reprlib
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np
from numpy.lib import format as npy_format

#: Numbers or names by image id, not checked yet.
Entries = dict[Union[str, int], list]


def _encode(text: str, encoding: str) -> bytes:
    """Encode the data of arrays, which protocols 0 to 2 write as text; other codecs than NumPy's are refused."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'refused: the file asks for the codec {encoding!r}, numpy writes latin1')
    return text.encode('latin1')


#: Functions and classes that a file may name: what pickled arrays consist of. NumPy 2 moved them to `numpy._core`.
ALLOWED: dict[tuple[str, str], Any] = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('_codecs', 'encode'): _encode,
}
for _core in ('numpy.core', 'numpy._core'):
    ALLOWED[f'{_core}.multiarray', '_reconstruct'] = np.zeros(1).__reduce__()[0]
    ALLOWED[f'{_core}.multiarray', 'scalar'] = np.float32(0).__reduce__()[0]
    ALLOWED[f'{_core}.numeric', '_frombuffer'] = np.zeros(1).__reduce_ex__(5)[0]


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(
                f'refused: the file asks for {module}.{name}; label files hold only dicts, strings and numpy arrays'
            )
        return ALLOWED[module, name]


def read_pickle(path: Path) -> Entries:
    """Read a pickled dict `{id: array or list}`; raise a `ValueError` for anything else."""
    with path.open('rb') as file:
        return _load(file, path)


def read_npy(path: Path) -> Union[Entries, np.ndarray]:
    """Read an `.npy` file: a dict `{id: array or list}` that `np.save` pickled, or a plain array of numbers."""
    with path.open('rb') as file:
        try:
            version = npy_format.read_magic(file)
            read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            is_pickled = read_header(file)[2].hasobject
            array = None if is_pickled else np.load(path, allow_pickle=False)
        except Exception as error:  # from Python's parsers, too
            raise ValueError(f'label file {path}: not an .npy file, or a damaged one ({error})') from error
        if array is None:
            return _load(file, path)
    if array.dtype.kind not in 'biuf':
        raise ValueError(f'label file {path}: array of dtype {array.dtype}; one-hot labels are numbers')
    return array


def _load(file: BinaryIO, path: Path) -> Entries:
    """Unpickle a dict, from the 0-d array that `np.save` wraps it in, and convert arrays to lists."""
    try:
        content = _ArrayUnpickler(file).load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f'label file {path}: {error or type(error).__name__}') from error
    if isinstance(content, np.ndarray) and content.shape == () and content.dtype == object:
        content = content.item()
    entries = {}
    for key, value in content.items() if isinstance(content, dict) else [(None, content)]:
        is_array = isinstance(value, np.ndarray) and value.ndim == 1
        if not isinstance(key, (str, int)) or not (is_array or isinstance(value, (list, tuple))):
            raise ValueError(
                f'label file {path}: holds {reprlib.repr(key)}: {reprlib.repr(value)}, not a dict {{id: labels}}: '
                'ids are strings or numbers, labels lists or arrays of one dimension'
            )
        entries[key] = value.tolist() if is_array else list(value)
    return entries
