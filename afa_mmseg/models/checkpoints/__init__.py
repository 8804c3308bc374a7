"""Weights of other projects in our names and back, and checkpoints for others to use."""

from .conversion import Converted, check_shapes, convert, recognise, to_afa
from .files import Report, convert_file, convert_file_to_afa
from .layouts import LAYOUTS, Layout
from .pretrained import check_pretrained
from .publishing import Published, publish
from .reading import read_checkpoint, read_state

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
    'publish',
    'read_checkpoint',
    'read_state',
    'recognise',
    'to_afa',
]
