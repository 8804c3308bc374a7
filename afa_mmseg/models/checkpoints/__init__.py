"""Conversion between weights of other projects and ours, strict loading."""

from .conversion import Weights, convert, recognise, to_afa
from .files import convert_file, convert_file_to_afa, write_weights
from .fitting import load_state
from .layouts import LAYOUTS, Layout
from .pretrained import load_all, read_pretrained

__all__ = [
    'LAYOUTS',
    'Layout',
    'Weights',
    'convert',
    'convert_file',
    'convert_file_to_afa',
    'load_all',
    'load_state',
    'read_pretrained',
    'recognise',
    'to_afa',
    'write_weights',
]
