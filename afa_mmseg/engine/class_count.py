"""A network for as many classes as the data set has, and with all the weights of the checkpoint."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from ..models.checkpoints import load_state
from ..models.checkpoints.reading import named, state_of
from ..utils.checks import check_class_count


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compare the classes of each data set with the network's, before weights are loaded.

    Heads without `num_foreground` (those of mmseg) are left alone.

    Raises:
        ValueError: They differ.
    """

    def before_run(self, runner: Any) -> None:
        """Check the loops that are about to run; those that are not built have no data set yet."""
        head = getattr(unwrap(runner.model), 'decode_head', None)
        if head is None or not hasattr(head, 'num_foreground'):
            return
        for name in ('train', 'val', 'test'):
            dataset = getattr(getattr(getattr(runner, f'_{name}_loop', None), 'dataloader', None), 'dataset', None)
            classes = getattr(dataset, 'metainfo', {}).get('classes')
            if classes:
                check_class_count(head.num_classes, classes, f'the data set of {name}_dataloader')


class WholeCheckpointHook(Hook):
    """Refuse a checkpoint of another network, which mmengine would load in part; for testing.

    Training does not want it: `load_from` takes what fits of other weights.

    Raises:
        ValueError: The checkpoint is not one of the config.
    """

    priority = 'HIGHEST'  # before `ResumeHook` adds what bare weights lack

    def after_load_checkpoint(self, runner: Any, checkpoint: Any) -> None:
        """Load what was read, before mmengine does it again."""
        with named(runner._load_from):
            load_state(unwrap(runner.model), state_of(checkpoint))


def unwrap(model: Any) -> nn.Module:
    """Give the network inside wrappers of distributed training and test-time augmentation."""
    while hasattr(model, 'module'):
        model = model.module
    return model
