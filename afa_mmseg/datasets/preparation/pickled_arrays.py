"""What stands in for numpy where a pickle names it: none of numpy's own functions gets arguments from a file."""

import math
import re
import reprlib
from enum import Enum
from typing import Any, Callable

import numpy as np

#: More axes than any label array has.
MAX_AXES = 8


class Name(Enum):
    """Functions and classes that pickled arrays name."""

    RECONSTRUCT = 'numpy.core.multiarray._reconstruct'
    FROMBUFFER = 'numpy.core.numeric._frombuffer'
    SCALAR = 'numpy.core.multiarray.scalar'
    NDARRAY = 'numpy.ndarray'
    DTYPE = 'numpy.dtype'
    ENCODE = '_codecs.encode'


#: All that a file may name: module and name, as `pickletools` joins them. numpy 2 moved its own to `numpy._core`.
ADMITTED = {
    'numpy.core.multiarray _reconstruct': Name.RECONSTRUCT,
    'numpy._core.multiarray _reconstruct': Name.RECONSTRUCT,
    'numpy.core.numeric _frombuffer': Name.FROMBUFFER,
    'numpy._core.numeric _frombuffer': Name.FROMBUFFER,
    'numpy.core.multiarray scalar': Name.SCALAR,
    'numpy._core.multiarray scalar': Name.SCALAR,
    'numpy ndarray': Name.NDARRAY,
    'numpy dtype': Name.DTYPE,
    '_codecs encode': Name.ENCODE,
}


class RefusedError(ValueError):
    """A pickle asks for more than data."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f'refused: the file asks for {what}; label files hold only dicts, strings and numpy arrays. '
            'Nothing of it was run.'
        )


class PickledDtype:
    """A dtype of whole numbers, floats, booleans, strings or objects.

    Raises:
        ValueError: `code` is of another kind, such as a structured one.
    """

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not re.fullmatch(r'b1|[iu][1248]|f[248]|U[1-9][0-9]{0,5}|O[48]?', code):
            raise RefusedError(f'an array of dtype {reprlib.repr(code)}')
        self.code = code
        self.byte_order = '='

    @property
    def is_object(self) -> bool:
        """Whether arrays of it hold a list of anything."""
        return self.code[0] == 'O'

    def set_state(self, state: Any) -> None:
        """Take over the byte order of the state that numpy pickles; fields and metadata are refused."""
        _, byte_order, *parts = state
        if byte_order not in ('<', '>', '|', '=') or parts[:3] != [None] * 3 or len(parts) != 6:
            raise RefusedError(f'an array of a dtype with fields or metadata ({reprlib.repr(state)})')
        self.byte_order = byte_order

    def read(self, data: Any, count: int) -> list:
        """Read `count` values; bytes that a Python 2 wrote may come as a latin-1 string."""
        dtype = np.dtype(self.byte_order + self.code)
        data = data.encode('latin-1') if isinstance(data, str) else data
        if not isinstance(data, (bytes, bytearray)) or len(data) != count * dtype.itemsize:
            size = f'{len(data)} bytes' if isinstance(data, (bytes, bytearray)) else type(data).__name__
            raise ValueError(f'an array of {count} values of {dtype.itemsize} bytes has data of {size}')
        if self.code[0] == 'U':  # numpy would not check the characters
            codec = 'utf-32-be' if dtype.str[0] == '>' else 'utf-32-le'
            items = (data[i : i + dtype.itemsize] for i in range(0, len(data), dtype.itemsize))
            return [item.decode(codec).rstrip('\0') for item in items]
        return np.frombuffer(data, dtype).tolist() if count else []


class PickledArray:
    """An array: its shape, and its values in a flat list."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.items: list = []

    def __repr__(self) -> str:
        return f'array of shape {self.shape}'

    def set_state(self, state: Any) -> None:
        """Take over what numpy pickles: version (not in old files), shape, dtype, whether in Fortran order, data."""
        shape, dtype, _, data = state[-4:]
        self.fill(shape, dtype, data)

    def fill(self, shape: Any, dtype: Any, data: Any) -> None:
        """Take over shape and data, which must be of the same size."""
        if not isinstance(shape, tuple) or len(shape) > MAX_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f'an array has shape {reprlib.repr(shape)}')
        if not isinstance(dtype, PickledDtype):
            raise ValueError(f'an array has dtype {reprlib.repr(dtype)}')
        count = math.prod(shape)
        if dtype.is_object and (not isinstance(data, list) or len(data) != count):
            raise ValueError(f'an array of shape {shape} has not a list of {count} objects')
        self.items = data if dtype.is_object else dtype.read(data, count)
        self.shape = shape


def _reconstruct(subtype: Any, shape: Any, code: Any) -> PickledArray:
    if subtype is not Name.NDARRAY:
        raise RefusedError(f'an array of class {reprlib.repr(subtype)}')
    return PickledArray()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array.fill(shape, dtype, data)
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    array = PickledArray()
    array.fill((), dtype, data)
    return array.items[0]


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise RefusedError(f'_codecs.encode with {reprlib.repr(encoding)}')
    return text.encode('latin-1')


#: What is called in place of what the file names.
FUNCTIONS: dict[Name, Callable[..., Any]] = {
    Name.RECONSTRUCT: _reconstruct,
    Name.FROMBUFFER: _from_buffer,
    Name.SCALAR: _scalar,
    Name.DTYPE: PickledDtype,
    Name.ENCODE: _encode,
}
