"""Validation that looks at the CAMs too, and training that counts updates."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, ValLoop


@LOOPS.register_module()
class CAMValLoop(ValLoop):
    """mmengine's `ValLoop`, with predictions that carry CAMs; testing and inference stay free of that work.

    Args:
        runner: The runner.
        dataloader: Of the validation set.
        evaluator: Metrics, such as `CAMIoUMetric`.
        pseudo_label: Make the refined pseudo-labels as well.
        fp16: Validate in half precision.
    """

    def __init__(self, runner, dataloader, evaluator, pseudo_label: bool = False, fp16: bool = False) -> None:  # type: ignore[no-untyped-def]
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        self.pseudo_label = pseudo_label

    def run(self) -> dict:
        """Validate once and return the metrics."""
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        with model.predicting_cams(pseudo_label=self.pseudo_label):
            return super().run()


@LOOPS.register_module()
class UpdateTrainLoop(IterBasedTrainLoop):
    """mmengine's `IterBasedTrainLoop` with one update of the weights per iteration, whatever that takes.

    With `optim_wrapper.accumulative_counts=N` an iteration is N batches, their gradients averaged, so that schedule,
    phases, validation and checkpoints count what they count without accumulation. mmengine's own loop counts
    batches: everything in the config would have to be multiplied by N.

    The log shows the mean over the batches; hooks are given the list of them.
    """

    dataloader_iterator: Any

    def run(self) -> Any:
        """Train; the iterations of a resumed run are updates too."""
        wrapper = self.runner.optim_wrapper
        self._count = getattr(wrapper, '_accumulative_counts', 1)
        if self._count > 1:
            wrapper.initialize_count_status(self.runner.model, self._iter * self._count, self._max_iters * self._count)
            self.dataloader_iterator = _Batches(self.dataloader_iterator, self._count)
            self.runner.logger.info(f'each iteration is {self._count} batches and one update')
        return super().run()

    def run_iter(self, data_batch: Any) -> None:
        """Run the batches of one update."""
        if self._count == 1:
            super().run_iter(data_batch)
            return
        self.runner.call_hook('before_train_iter', batch_idx=self._iter, data_batch=data_batch)
        logs = [self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper) for batch in data_batch]
        outputs = {name: torch.stack([log[name] for log in logs]).mean() for name in logs[0]}
        self.runner.call_hook('after_train_iter', batch_idx=self._iter, data_batch=data_batch, outputs=outputs)
        self._iter += 1


class _Batches:
    """Takes several batches at a time from the data loader."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader = loader
        self.count = count

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return self

    def __next__(self) -> Sequence[Any]:
        return [next(self.loader) for _ in range(self.count)]

    def skip_iter(self, num_iters: int) -> None:
        """Skip what a resumed run has seen already."""
        self.loader.skip_iter(num_iters * self.count)
