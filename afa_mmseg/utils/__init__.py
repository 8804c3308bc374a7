"""What the scripts of `tools/` share: files that are whole or absent, parallel work with progress, plain errors."""

from .command import comma_separated, positive, run_command
from .files import atomic_path, refuse_same, remove_leftovers, write_text
from .masks import IGNORE_INDEX, mask_palette, read_mask, save_mask
from .parallel import run_parallel, show_progress

__all__ = [
    'IGNORE_INDEX',
    'atomic_path',
    'comma_separated',
    'mask_palette',
    'positive',
    'read_mask',
    'refuse_same',
    'remove_leftovers',
    'run_command',
    'run_parallel',
    'save_mask',
    'show_progress',
    'write_text',
]
