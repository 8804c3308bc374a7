"""Pickles that ask for more than data, made by `pickle` itself or written by hand; each with what refuses it."""

import os
import struct

import numpy as np

MARK, STOP = b'(', b'.'


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Plain:
    """An object like any other."""

    def __init__(self):
        self.labels = [1, 0]


class SubArray(np.ndarray):
    """numpy's reconstruction takes subclasses too."""


def glob(module, name):
    return f'c{module}\n{name}\n'.encode()


def text(value):
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def calls(flag):
    """Objects whose loading by `pickle` creates the file `flag`, or reads one; by the name that must be refused."""
    touch = f'touch {flag}'
    python = f'open({str(flag)!r}, "w").close()'
    return {
        f'{os.system.__module__}.system': Call(os.system, touch),
        'builtins.eval': Call(eval, python),
        'builtins.exec': Call(exec, python),
        'builtins.getattr': Call(getattr, dict, 'update'),
        f'{open.__module__}.open': Call(open, str(flag), 'w'),
        'numpy.load': Call(np.load, str(flag), None, True),
        'numpy.fromfile': Call(np.fromfile, str(flag)),
        f'{__name__}.Plain': Plain(),
        f'{__name__}.SubArray': np.zeros(2).view(SubArray),
        'numpy.matrix': np.asmatrix(np.eye(2)),
    }


def handmade():
    """Pickles written instruction by instruction; by a name, with words of the refusal."""
    system = glob('os', 'system')
    ndarray, dtype = glob('numpy', 'ndarray'), glob('numpy', 'dtype')
    reconstruct = glob('numpy.core.multiarray', '_reconstruct')
    return {
        'inst': (MARK + text('true') + b'ios\nsystem\n' + STOP, 'instruction INST (os system)'),
        'obj': (MARK + system + text('true') + b'o' + STOP, 'asks for os.system;'),
        'obj of ours': (MARK + ndarray + b'K\x05o' + STOP, 'instruction OBJ'),
        'newobj': (system + text('true') + b'\x85\x81' + STOP, 'asks for os.system;'),
        'newobj of ours': (ndarray + b'K\x05\x85\x85\x81' + STOP, 'instruction NEWOBJ'),
        'newobj_ex': (ndarray + b')}\x92' + STOP, 'instruction NEWOBJ_EX'),
        'stack global': (text('os') + text('system') + b'\x93' + STOP, 'asks for os.system;'),
        'dotted name': (text('numpy') + text('dtype.__class__') + b'\x93' + STOP, 'asks for numpy.dtype.__class__;'),
        'dotted module': (text('numpy dtype') + text('') + b'\x93' + STOP, 'asks for numpy.dtype ;'),
        'extension 1': (b'\x82\x01' + STOP, 'instruction EXT1'),
        'extension 4': (b'\x84\x01\x00\x00\x00' + STOP, 'instruction EXT4'),
        'persistent id': (b'Pfile:///etc/passwd\n' + STOP, 'instruction PERSID (file:///etc/passwd)'),
        'binary persistent id': (text('x') + b'Q' + STOP, 'instruction BINPERSID'),
        'buffer outside': (b'\x97' + STOP, 'instruction NEXT_BUFFER'),
        'set': (b'\x8f(K\x01\x90' + STOP, 'instruction EMPTY_SET'),
        'call of an array': (ndarray + b'\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85\x85R' + STOP, 'a call of numpy.ndarray'),
        'call of a string': (text('eval') + b')R' + STOP, 'a call of eval'),
        'call of a dict': (b'})R' + STOP, 'a call of {}'),
        'state of a dict': (b'}}b' + STOP, 'a change of {}'),
        'state of a class': (ndarray + b'}' + text('shape') + b'K\x01sb' + STOP, 'a change of numpy.ndarray'),
        'items of a class': (dtype + text('a') + b'K\x01s' + STOP, 'a change of numpy.dtype'),
        'item of a string': (text('a') + b'K\x01a' + STOP, 'a change of a'),
        'subclass': (reconstruct + dtype + b'K\x00\x85C\x01b\x87R' + STOP, 'an array of class'),
        'codec': (glob('_codecs', 'encode') + text('a') + text('zip') + b'\x86R' + STOP, "_codecs.encode with 'zip'"),
        'codec of bytes': (glob('_codecs', 'encode') + b'C\x01a' + text('latin1') + b'\x86R' + STOP, '_codecs.encode'),
        'dtype of fields': (dtype + b']' + b'\x85R' + STOP, 'an array of dtype []'),
        'dtype of class': (dtype + dtype + b'\x85R' + STOP, 'an array of dtype'),
        'void dtype': (dtype + text('V8') + b'\x85R' + STOP, "an array of dtype 'V8'"),
        'dates': (dtype + text('M8') + b'\x85R' + STOP, "an array of dtype 'M8'"),
        'long dtype': (dtype + text('f4,(1000000000,)f8') + b'\x85R' + STOP, 'an array of dtype'),
        'dtype with names': (
            dtype + text('f4') + b'\x85R(K\x03' + text('<') + b'N' + text('a') + b'\x85}K\x04K\x01K\x00tb' + STOP,
            'a dtype with fields or metadata',
        ),
        'escape codes': (b'cos\n\x1b[2J\n' + STOP, "'os.\\x1b[2J'"),
    }


def nested_tuples(depth):
    """A tuple in a tuple in a tuple, as the key of a dict."""
    return b'}' + b')' + b'\x85' * depth + b'K\x01s' + STOP


def doubled_tuples(depth):
    """A tuple of twice the same, `depth` times: its hash takes 2 ** depth steps."""
    return b'})' + b'q\x00h\x00\x86' * depth + b'K\x01s' + STOP


def array_of_shape(*shape, code='f4', data=b''):
    """`_frombuffer` with any shape."""
    sides = b''.join(b'\x8a\x08' + struct.pack('<q', side) for side in shape)
    return (
        glob('numpy._core.numeric', '_frombuffer')
        + (MARK + b'C' + bytes([len(data)]) + data)
        + (glob('numpy', 'dtype') + text(code) + b'\x85R')
        + (MARK + sides + b't' + text('C') + b'tR' + STOP)
    )


def bombs():
    """Pickles that claim more memory or time than their size; by a name, with words of the message."""
    return {
        'array larger than its data': (array_of_shape(10**12), 'of 1000000000000 values of 4 bytes has data of 0'),
        'many axes': (array_of_shape(*[1] * 9, data=b'abcd'), 'an array has shape'),
        'negative shape': (array_of_shape(-1, -1, data=b'abcd'), 'an array has shape'),
        'values of no size': (array_of_shape(10**12, code='U0'), "an array of dtype 'U0'"),
        'values of huge size': (array_of_shape(1, code='U999999999'), 'an array of dtype'),
        'characters beyond Unicode': (array_of_shape(1, code='U1', data=b'\xff\xff\xff\x7f'), 'damaged'),
        'long string': (b'\x8d' + struct.pack('<Q', 2**62) + b'abc' + STOP, 'damaged'),
        'long bytes': (b'\x8e' + struct.pack('<Q', 2**40) + b'abc' + STOP, 'damaged'),
        'long bytearray': (b'\x96' + struct.pack('<Q', 2**40) + b'abc' + STOP, 'damaged'),
        'far memo': (b'}r\xff\xff\xff\xff' + b'}' + STOP, 'does not leave one value'),  # a list of that length?
        'long number': (b'\x8b' + struct.pack('<I', 200_000) + b'\x7f' * 200_000 + STOP, 'more than 64 bits'),
        'many digits': (b'L' + b'9' * 200_000 + b'L\n' + STOP, 'damaged'),
        'nested key': (nested_tuples(300_000), 'is a key; keys are strings or whole numbers'),
        'doubled key': (doubled_tuples(100), 'is a key; keys are strings or whole numbers'),
        'a number as list key': (b'}]K\x01s' + STOP, '[] is a key'),
    }
