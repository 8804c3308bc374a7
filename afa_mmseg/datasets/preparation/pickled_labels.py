"""Label files that numpy or pickle wrote, read by an unpickler that admits arrays and nothing else."""

import pickle
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
        return _entries(_load(file, path), path)


def read_npy(path: Path) -> Union[Entries, np.ndarray]:
    """Read an `.npy` file: a dict `{id: array or list}` that `np.save` pickled, or a plain array of numbers."""
    with path.open('rb') as file:
        try:
            version = npy_format.read_magic(file)
            read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            dtype = read_header(file)[2]
            if not dtype.hasobject:
                file.seek(0)
                array = np.load(file, allow_pickle=False)
        except Exception as error:  # from Python's parsers, too
            raise ValueError(f'label file {path}: not an .npy file, or a damaged one ({error})') from error
        if dtype.hasobject:
            return _entries(_load(file, path), path)
    if array.dtype.kind not in 'biuf':
        raise ValueError(f'label file {path}: array of dtype {array.dtype}; one-hot labels are numbers')
    return array


def _load(file: BinaryIO, path: Path) -> Any:
    try:
        return _ArrayUnpickler(file).load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f'label file {path}: {error or type(error).__name__}') from error


def _entries(content: Any, path: Path) -> Entries:
    """Unpack the 0-d array that `np.save` wraps a dict in, and convert arrays to lists."""
    if isinstance(content, np.ndarray) and content.shape == () and content.dtype == object:
        content = content.item()
    if not isinstance(content, dict):
        raise ValueError(f'label file {path}: holds {_describe(content)}, not a dict {{id: labels}}')
    entries = {}
    for key, value in content.items():
        if not isinstance(key, (str, int)):
            raise ValueError(f'label file {path}: {key!r} is a key, not an id: a string or a number')
        if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim == 1):
            raise ValueError(f'label file {path}, id {key!r}: holds {_describe(value)}, not a list or an array (C,)')
        entries[key] = value.tolist() if isinstance(value, np.ndarray) else list(value)
    return entries


def _describe(value: Any) -> str:
    return f'an array of shape {value.shape}' if isinstance(value, np.ndarray) else type(value).__name__
