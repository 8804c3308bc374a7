"""AFA for MMSegmentation: semantic segmentation learned from image-level labels.

Importing this package registers its modules, so ``custom_imports = dict(imports=['afa_mmseg'])`` is all
that a config needs.
"""

from ._stack_check import check_stack, quiet_imports

with quiet_imports():
    check_stack()

    from . import datasets, engine, evaluation, models, visualization
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models', 'visualization']
