"""Conversion between weights of other projects and ours, strict loading."""

from .conversion import Weights, convert, recognise, to_afa
from .files import convert_file, convert_file_to_afa, write_weights
from .fitting import load_state
from .layouts import LAYOUTS, Layout
from .pretrained import check_pretrained

__all__ = [
    'LAYOUTS',
    'Layout',
    'Weights',
    'check_pretrained',
    'convert',
    'convert_file',
    'convert_file_to_afa',
    'load_state',
    'recognise',
    'to_afa',
    'write_weights',
]
