"""Hooks that check the data: its number of classes before a run, images that a run skipped."""

import logging
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from ..utils.checks import check_class_count


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compare the classes of each data set with the network's, before weights are loaded.

    Segmentors without `num_foreground` (those of mmseg) are not checked.

    Raises:
        ValueError: They differ.
    """

    def before_run(self, runner: Any) -> None:
        model: Any = unwrap(runner.model)
        if not hasattr(model, 'num_foreground'):
            return
        for name in ('train', 'val', 'test'):
            # `_train_loop`: the public `train_loop` would build the loop.
            dataset = getattr(getattr(getattr(runner, f'_{name}_loop', None), 'dataloader', None), 'dataset', None)
            classes = getattr(dataset, 'metainfo', {}).get('classes')
            if classes:
                check_class_count(model.num_classes, classes, f'the data set of {name}_dataloader')


@HOOKS.register_module()
class SkippedImageHook(Hook):
    """Log each image that a data set skips because it cannot be read, once on each rank."""

    def __init__(self) -> None:
        self.met: set[str] = set()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        level = logging.WARNING if is_main_process() else logging.ERROR  # others log nothing below
        for batch in data_batch if isinstance(data_batch, list) else [data_batch]:
            for sample in (batch or {}).get('data_samples', ()):
                for path, reason in sample.metainfo.get('left_out', ()):
                    if path not in self.met:
                        runner.logger.log(level, f'skipped, and another image loaded: {reason}')
                    self.met.add(path)


def unwrap(model: Any) -> nn.Module:
    """Return the network inside wrappers of distributed training and test-time augmentation."""
    while hasattr(model, 'module'):
        model = model.module
    return model
