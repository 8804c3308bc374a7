"""What a run prints: losses also in short runs, and no records that the log file holds anyway."""

import logging
import re
from typing import Any

from mmengine.hooks import LoggerHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..utils.command import is_verbose

#: Starts of records that the console of our tools leaves to the log file, hundreds of lines together.
FILE_ONLY = re.compile(
    r'\s*-*\s*(System environment:|Config:|Hooks will be executed|paramwise_options|Exp name:|'
    r'The prefix is not set in metric|"FileClient" will be deprecated|"HardDiskBackend" is the alias|'
    r'Distributed training is not used|\S+ is skipped since its requires_grad=False)'
)


@HOOKS.register_module()
class RunLengthLoggerHook(LoggerHook):
    """mmengine's `LoggerHook`, whose interval is shortened in training so that a short run logs its losses, too.

    Args:
        min_records: Records of a training run at least, if it has as many iterations.
        kwargs: Of `LoggerHook`; `interval` is the longest one.
    """

    interval: int

    def __init__(self, *, min_records: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_records = min_records

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        longest = self.interval
        self.interval = max(1, min(longest, runner.max_iters // self.min_records))
        super().after_train_iter(runner, *args, **kwargs)
        self.interval = longest  # of validation


class QuietRunner(Runner):
    """mmengine's Runner, with a console that leaves out `FILE_ONLY`, unless `--verbose` asks for it."""

    def build_logger(self, *args: Any, **kwargs: Any) -> Any:
        """Build mmengine's logger with a filter on its console."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler) and not is_verbose():
                handler.addFilter(lambda record: FILE_ONLY.match(record.getMessage()) is None)
        return logger
