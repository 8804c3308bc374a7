"""Pickles read without running them: dicts, lists, strings, numbers and numpy arrays of these, nothing else.

A pickle is a program: Python's `pickle` looks up the functions that it names, and calls them with the arguments
that it holds. Here the standard library's `pickletools` lists the instructions, which executes nothing, and
`RestrictedUnpickler` follows the few that data need. What the file names is never looked up: the names of which
arrays are made stand for workings of our own (`pickled_arrays`), all others are refused.
"""

import pickletools
import reprlib
from typing import Any, Callable

from .pickled_arrays import ADMITTED, FUNCTIONS, Name, PickledArray, PickledDtype, RefusedError

#: Instructions whose argument is the value itself; `pickletools` has decoded it.
LITERALS = frozenset([
    'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT',
    'UNICODE', 'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8', 'STRING', 'SHORT_BINSTRING', 'BINSTRING',
    'SHORT_BINBYTES', 'BINBYTES', 'BINBYTES8', 'BYTEARRAY8',
])  # fmt: skip
CONSTANTS = dict(NONE=None, NEWTRUE=True, NEWFALSE=False, EMPTY_TUPLE=())
TUPLES = dict(TUPLE1=1, TUPLE2=2, TUPLE3=3)
IGNORED = frozenset(['PROTO', 'FRAME', 'STOP'])


def unpickle(data: bytes) -> Any:
    """Build what a pickle of any protocol (0 to 5) holds, if that is data and numpy arrays only.

    Args:
        data: One pickle, and nothing after it.

    Returns:
        Dicts whose keys are strings or whole numbers, lists, tuples, strings, bytes, numbers, None, and a
        `PickledArray` for each array.

    Raises:
        ValueError: The file asks for anything else, which the message names, or is damaged.

    Example:
        >>> unpickle(b'(dS"a"\\nI1\\ns.')
        {'a': 1}
        >>> unpickle(b'cposix\\nsystem\\n(S"ls"\\ntR.')
        Traceback (most recent call last):
            ...
        afa_mmseg.datasets.preparation.pickled_arrays.RefusedError: refused: the file asks for posix.system; ...
    """
    machine = RestrictedUnpickler()
    end = 0
    try:
        for opcode, arg, position in pickletools.genops(data):
            machine.step(opcode.name, arg)
            end = position or 0
        result = machine.result()
    except RefusedError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f'no pickle, or a damaged one: {str(error) or type(error).__name__}') from error
    if end + 1 != len(data):  # STOP is one byte
        raise ValueError(f'{len(data) - end - 1} bytes stand after the pickle; a label file holds a single one')
    return result


class RestrictedUnpickler:
    """Follows the instructions of a pickle that data need; any other raises a `RefusedError`."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, arg: Any) -> None:
        """Follow one instruction, given by the name and the argument that `pickletools` finds."""
        if opcode in LITERALS:
            self.push(arg)
        elif opcode in CONSTANTS:
            self.push(CONSTANTS[opcode])
        elif opcode in TUPLES:
            self.push(tuple(self.pop(TUPLES[opcode])))
        elif opcode in INSTRUCTIONS:
            INSTRUCTIONS[opcode](self, arg)
        elif opcode not in IGNORED:
            raise RefusedError(f'instruction {opcode}' + (f' ({_readable(arg)})' if arg else ''))

    def result(self) -> Any:
        """Give the one value that is left at the end."""
        if len(self.stack) != 1 or self.below:
            raise ValueError('its end does not leave one value')
        return self.stack[0]

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise ValueError('a whole number of more than 64 bits')
        self.stack.append(value)

    def top(self) -> Any:
        """Give the last value on the stack, and leave it there."""
        if not self.stack:
            raise ValueError('an instruction lacks its operands')
        return self.stack[-1]

    def pop(self, count: int) -> list[Any]:
        """Take the last values off the stack."""
        if len(self.stack) < count:
            raise ValueError('an instruction lacks its operands')
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def pop_mark(self) -> list[Any]:
        """Take all values after the last mark off the stack."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self) -> None:
        """Begin a new stack on top of the present one."""
        self.below.append(self.stack)
        self.stack = []

    def extend(self, items: list[Any]) -> None:
        """Append to the list on top of the stack."""
        target = self.top()
        if not isinstance(target, list):
            raise RefusedError(f'a change of {_readable(target)}')
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, in turn, of the dict on top of the stack."""
        target = self.top()
        if not isinstance(target, dict):
            raise RefusedError(f'a change of {_readable(target)}')
        if len(items) % 2:
            raise ValueError('a key without a value')
        for key, value in zip(items[::2], items[1::2]):
            if type(key) not in (str, int):  # not hashed before: that of nested tuples may never end
                raise ValueError(f'{_readable(key)} is a key; keys are strings or whole numbers')
            if key in target:
                raise ValueError(f'key {_readable(key)} is there twice')
            target[key] = value

    def remember(self, index: Any) -> None:
        """Keep the value on top of the stack for later use."""
        self.memo[len(self.memo) if index is None else index] = self.top()

    def name(self, module_and_name: str) -> None:
        """Put a stand-in of a function or class on the stack."""
        if module_and_name not in ADMITTED:
            raise RefusedError(_readable(module_and_name.replace(' ', '.', 1)))
        self.push(ADMITTED[module_and_name])

    def call(self, function: Any, arguments: Any) -> None:
        """Put what one of our stand-ins returns on the stack."""
        if not isinstance(function, Name) or function not in FUNCTIONS or not isinstance(arguments, tuple):
            raise RefusedError(f'a call of {_readable(function)}')
        self.push(FUNCTIONS[function](*arguments))

    def set_state(self, state: Any) -> None:
        """Set the state of the array or dtype on top of the stack."""
        target = self.top()
        if not isinstance(target, (PickledArray, PickledDtype)):
            raise RefusedError(f'a change of {_readable(target)}')
        target.set_state(state)


def _readable(value: Any) -> str:
    """Show something of the file in a message: short, and without control characters."""
    if isinstance(value, Name):
        return value.value
    text = value if isinstance(value, str) and value.isprintable() else reprlib.repr(value)
    return text[:100]


Instruction = Callable[[RestrictedUnpickler, Any], None]


def _make_dict(machine: RestrictedUnpickler, arg: Any) -> None:
    items = machine.pop_mark()
    machine.push({})
    machine.set_items(items)


#: The instructions that data need, apart from those that only push a value.
INSTRUCTIONS: dict[str, Instruction] = {
    **dict.fromkeys(['PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'], RestrictedUnpickler.remember),
    **dict.fromkeys(['GET', 'BINGET', 'LONG_BINGET'], lambda machine, index: machine.push(machine.memo[index])),
    'MARK': lambda machine, _: machine.mark(),
    'TUPLE': lambda machine, _: machine.push(tuple(machine.pop_mark())),
    'LIST': lambda machine, _: machine.push(machine.pop_mark()),
    'EMPTY_LIST': lambda machine, _: machine.push([]),
    'APPEND': lambda machine, _: machine.extend(machine.pop(1)),
    'APPENDS': lambda machine, _: machine.extend(machine.pop_mark()),
    'DICT': _make_dict,
    'EMPTY_DICT': lambda machine, _: machine.push({}),
    'SETITEM': lambda machine, _: machine.set_items(machine.pop(2)),
    'SETITEMS': lambda machine, _: machine.set_items(machine.pop_mark()),
    'GLOBAL': RestrictedUnpickler.name,
    'STACK_GLOBAL': lambda machine, _: machine.name(' '.join(machine.pop(2))),
    'REDUCE': lambda machine, _: machine.call(*machine.pop(2)),
    'BUILD': lambda machine, _: machine.set_state(*machine.pop(1)),
}
