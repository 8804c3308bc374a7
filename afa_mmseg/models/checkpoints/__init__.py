"""Weights of other projects in our names and back, and checkpoints for others to use."""

from .conversion import Converted, check_shapes, convert, recognise, to_afa
from .files import Report, convert_file, convert_file_to_afa
from .fitting import load_state
from .layouts import LAYOUTS, Layout
from .mmengine_loading import fetch_state, guard_mmengine
from .pretrained import check_pretrained
from .publishing import Published, publish
from .reading import read_checkpoint, read_state
from .trust import add_trust_option, set_trust, trusting

__all__ = [
    'LAYOUTS',
    'Converted',
    'Layout',
    'Published',
    'Report',
    'add_trust_option',
    'check_pretrained',
    'check_shapes',
    'convert',
    'convert_file',
    'convert_file_to_afa',
    'fetch_state',
    'guard_mmengine',
    'load_state',
    'publish',
    'read_checkpoint',
    'read_state',
    'recognise',
    'set_trust',
    'to_afa',
    'trusting',
]
