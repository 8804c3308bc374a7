"""Pictures that a run left out, never in silence."""

import logging
from collections import Counter
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ..utils.checks import first_few


@HOOKS.register_module()
class BrokenPictureHook(Hook):
    """Report the pictures that a data set with `broken_pictures='skip'` left out.

    Each file is named when it is first met; before each validation and at the end, those of all processes are
    counted.
    """

    def __init__(self) -> None:
        self.met: Counter = Counter()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Look for pictures that were left out of this iteration's batches."""
        for batch in data_batch if isinstance(data_batch, list) else [data_batch]:
            for sample in (batch or {}).get('data_samples', ()):
                for path, reason in sample.metainfo.get('left_out', ()):
                    if path not in self.met:
                        # Below `ERROR`, mmengine shows what the main process says only.
                        level = logging.WARNING if is_main_process() else logging.ERROR
                        runner.logger.log(level, f'left out, and another picture taken: {reason}')
                    self.met[path] += 1

    def before_val_epoch(self, runner: Any) -> None:
        """Count what was met so far."""
        self._count(runner)

    def after_train(self, runner: Any) -> None:
        """Count what was met."""
        self._count(runner)

    def _count(self, runner: Any) -> None:
        met: Counter = sum((Counter(other) for other in all_gather_object(dict(self.met))), Counter())
        if met:
            runner.logger.warning(
                f'broken pictures so far: {len(met)}, left out {sum(met.values())} times: {first_few(sorted(met))}'
            )
