"""Conversion between weights of other projects and ours, strict loading."""

from .conversion import Weights, check_shapes, convert, recognise, to_afa
from .files import Report, convert_file, convert_file_to_afa
from .fitting import load_state
from .layouts import LAYOUTS, Layout
from .pretrained import check_pretrained

__all__ = [
    'LAYOUTS',
    'Layout',
    'Report',
    'Weights',
    'check_pretrained',
    'check_shapes',
    'convert',
    'convert_file',
    'convert_file_to_afa',
    'load_state',
    'recognise',
    'to_afa',
]
