"""A network for as many classes as the data set has."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ..datasets.checks import check_class_count


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compare the classes of each data set with the network's, before weights are loaded.

    Heads without `num_foreground` (those of mmseg) are left alone.

    Raises:
        ValueError: They differ.
    """

    def before_run(self, runner: Any) -> None:
        """Check the loops that are about to run; those that are not built have no data set yet."""
        model = runner.model
        while hasattr(model, 'module'):  # distributed, test-time augmentation
            model = model.module
        head = getattr(model, 'decode_head', None)
        if head is None or not hasattr(head, 'num_foreground'):
            return
        for name in ('train', 'val', 'test'):
            dataset = getattr(getattr(getattr(runner, f'_{name}_loop', None), 'dataloader', None), 'dataset', None)
            classes = getattr(dataset, 'metainfo', {}).get('classes')
            if classes:
                check_class_count(head.num_classes, classes, f'the data set of {name}_dataloader')
