"""Conversion between weights of other projects and ours, strict loading, publishing."""

from .conversion import Converted, check_shapes, convert, recognise, to_afa
from .files import Report, convert_file, convert_file_to_afa
from .fitting import load_state
from .layouts import LAYOUTS, Layout
from .pretrained import check_pretrained
from .publishing import Published, publish

__all__ = [
    'LAYOUTS',
    'Converted',
    'Layout',
    'Published',
    'Report',
    'check_pretrained',
    'check_shapes',
    'convert',
    'convert_file',
    'convert_file_to_afa',
    'load_state',
    'publish',
    'recognise',
    'to_afa',
]
