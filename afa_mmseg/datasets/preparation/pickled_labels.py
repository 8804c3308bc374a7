"""Label files of other projects that numpy or pickle wrote; the only pickles that this project reads."""

import math
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np
from numpy.lib import format as npy_format

from .pickled_arrays import PickledArray
from .restricted_unpickler import unpickle

#: By picture id, the numbers or names that stand for its labels; not checked yet.
Entries = dict[Union[str, int], list]


def read_pickle(path: Union[str, Path]) -> Entries:
    """Read a pickled dict `{id: array or list}`; nothing of the file is run (see `restricted_unpickler`).

    Raises:
        ValueError: The file asks for more than dicts, strings and numpy arrays, is damaged, or holds no dict.
    """
    try:
        return _entries(unpickle(Path(path).read_bytes()))
    except ValueError as error:
        raise ValueError(f'label file {path}: {error}') from error


def read_npy(path: Union[str, Path]) -> Union[Entries, np.ndarray]:
    """Read an `.npy` file: a dict `{id: array or list}` that `np.save` pickled, or a plain array of numbers.

    Raises:
        ValueError: As `read_pickle`; also if the file is no `.npy` file or holds an array of another kind.
    """
    try:
        with Path(path).open('rb') as file:
            shape, fortran_order, dtype = _read_header(file)
            data = file.read()
        if dtype.hasobject:
            return _entries(unpickle(data))
        return _plain_array(data, shape, fortran_order, dtype)
    except ValueError as error:
        raise ValueError(f'label file {path}: {error}') from error


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Have numpy read the header: a literal, of a size that numpy limits."""
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    try:
        return readers[npy_format.read_magic(file)](file)
    except Exception as error:  # from Python's parsers, too
        raise ValueError(
            f'no .npy file of format 1 or 2, or a damaged one: {str(error) or type(error).__name__}'
        ) from error


def _plain_array(data: bytes, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype) -> np.ndarray:
    if dtype.kind not in 'biuf':
        raise ValueError(f'array of dtype {dtype}; one-hot labels are numbers')
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f'the header promises shape {shape} of {dtype}, but {len(data)} bytes follow; fetch it again')
    return np.frombuffer(data, dtype).reshape(shape, order='F' if fortran_order else 'C')


def _entries(content: Any) -> Entries:
    """Take the dict out of the 0-d array that `np.save` wraps it in, and lists out of arrays."""
    if isinstance(content, PickledArray) and content.shape == () and content.items:
        content = content.items[0]
    if not isinstance(content, dict):
        kind = content if isinstance(content, PickledArray) else type(content).__name__
        raise ValueError(f'holds {kind}, not a dict {{id: labels}}')
    return {key: _as_list(value, key) for key, value in content.items()}


def _as_list(value: Any, key: Union[str, int]) -> list:
    if isinstance(value, PickledArray) and len(value.shape) == 1 and value.items:
        return value.items
    if isinstance(value, (list, tuple)):
        return list(value)
    kind = value if isinstance(value, PickledArray) else type(value).__name__
    raise ValueError(f'id {key!r}: holds {kind}, not an array with one axis or a list')
