"""Ctrl-C between two iterations, never in the middle of a checkpoint."""

import signal
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class InterruptHook(Hook):
    """Finish the iteration, its checkpoint included, before Ctrl-C ends the training.

    CheckpointHook deletes the oldest file before it writes the next: interrupted there, a run that keeps one
    checkpoint would have none. A second Ctrl-C stops at once.

    Raises:
        KeyboardInterrupt: At the next iteration of training or validation.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def before_train(self, runner: Any) -> None:
        self._previous = signal.signal(signal.SIGINT, self._request)

    def after_train(self, runner: Any) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _before_iter(self, *args: Any, **kwargs: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt

    def _request(self, number: int, frame: Any) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._previous)
