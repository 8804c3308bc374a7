"""Hooks that check the data: its number of classes before a run, images that a run skipped."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from ..utils.checks import check_class_count, check_class_order


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compare the number of classes of each data set with the network's, and their order with the checkpoint's.

    Numbers are not compared for segmentors without `num_foreground` (those of mmseg); the order is in tests and resumed
    runs, since a run with `load_from` may learn other classes.

    Raises:
        ValueError: They differ.
    """

    def before_run(self, runner: Any) -> None:
        model: Any = unwrap(runner.model)
        if not hasattr(model, 'num_foreground'):
            return
        for loop, classes in _classes(runner):
            check_class_count(model.num_classes, classes, f'the data set of {loop}_dataloader')

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        found = dict(_classes(runner))
        if meta.get('classes') and (found.keys() == {'test'} or runner.cfg.get('resume')):
            for loop, classes in found.items():
                check_class_order(meta['classes'], classes, f'the data set of {loop}_dataloader')


def _classes(runner: Any) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the name of each loop, and the classes of its data set."""
    for name in ('train', 'val', 'test'):
        # `_train_loop`: the public `train_loop` would build the loop.
        dataset = getattr(getattr(getattr(runner, f'_{name}_loop', None), 'dataloader', None), 'dataset', None)
        classes = getattr(dataset, 'metainfo', {}).get('classes')
        if classes:
            yield name, classes


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
