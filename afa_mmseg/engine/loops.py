"""Loops: validation with CAMs in the predictions, training whose iterations are updates."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast, get_world_size, is_main_process
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, ValLoop

from ..datasets.seeding import SequenceSampler
from ..utils import write_text
from .data_hooks import unwrap


@LOOPS.register_module()
class CAMValLoop(ValLoop):
    """mmengine's `ValLoop`, with CAMs in the predictions, which testing and inference do not compute.

    Args:
        runner: The runner.
        dataloader: Of the validation set.
        evaluator: Metrics, such as `CAMIoUMetric`.
        pseudo_label: Make the refined pseudo-labels as well.
        fp16: Validate in half precision.

    Raises:
        ValueError: The segmentor has no CAMs.
    """

    def __init__(self, runner, dataloader, evaluator, pseudo_label: bool = False, fp16: bool = False) -> None:  # type: ignore[no-untyped-def]
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        model = unwrap(self.runner.model)
        if not hasattr(model, 'predicting_cams'):
            raise ValueError(
                f'val_cfg.type CAMValLoop: model.type {type(model).__name__} has no CAMs: set '
                "val_cfg=dict(_delete_=True, type='ValLoop') and a val_evaluator without metrics of CAMs and classifier"
            )
        self.pseudo_label = pseudo_label

    def run(self) -> dict:
        """Validate once and return the metrics."""
        with unwrap(self.runner.model).predicting_cams(pseudo_label=self.pseudo_label):  # type: ignore[operator]
            return super().run()


@LOOPS.register_module()
class UpdateTrainLoop(IterBasedTrainLoop):
    """mmengine's `IterBasedTrainLoop` with one update of the weights per iteration.

    With `optim_wrapper.accumulative_counts=N` an iteration is N batches, their gradients averaged, so that schedule,
    phases, validation and checkpoints count what they count without accumulation. mmengine's own loop counts
    batches: everything in the config would have to be multiplied by N. The log shows the mean over the batches;
    hooks get the list of them.

    A resumed run loads the images that an uninterrupted one would have loaded, and begins with the validation that
    was due where it stopped, if that was not finished. Checkpoints hold the position in the sequence of images, so
    batch size and number of processes may change.
    """

    dataloader_iterator: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.max_iters < 1:
            raise ValueError(f'train_cfg.max_iters={self.max_iters} must be 1 or more')
        if self.val_interval < 1:
            raise ValueError(
                f'train_cfg.val_interval={self.val_interval} must be 1 or more; without validation, set val_cfg, '
                'val_dataloader and val_evaluator to None'
            )

    def run(self) -> Any:
        """Train; the iterations of a resumed run are updates too."""
        wrapper = self.runner.optim_wrapper
        self._count = getattr(wrapper, '_accumulative_counts', 1)  # no public name
        self._seen = 0
        if self._count > 1:
            wrapper.initialize_count_status(self.runner.model, self.iter * self._count, self.max_iters * self._count)
            self.runner.logger.info(f'each iteration is {self._count} batches and one update')
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self.iter >= self.max_iters:
            self.runner.logger.warning(
                f'nothing to train: the checkpoint is of iteration {self.iter}, and train_cfg.max_iters='
                f'{self.max_iters}. For a longer run start anew from its weights (load_from)'
            )
        if self.iter > 0:
            self._warn_of_ended_schedules()
            self._resume()
        elif is_main_process():
            self._validation_record.unlink(missing_ok=True)  # of an earlier run
        while self.iter < self.max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(self._next_update())
            self._decide_current_val_interval()  # mmengine's, of `dynamic_intervals`: without a public name
            if self._validation_is_due():
                self._validate()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _warn_of_ended_schedules(self) -> None:
        """Warn where the schedule of a resumed run ends before the run does."""
        schedulers = self.runner.param_schedulers
        ends = [int(getattr(scheduler, 'max_iters', None) or self.max_iters) for scheduler in schedulers or ()]
        if ends and max(ends) < self.max_iters:
            self.runner.logger.warning(
                f'the schedule of the checkpoint ends at iteration {max(ends)}, the run at {self.max_iters}: learning '
                'rates between are 0. For a longer run start anew from its weights (load_from)'
            )

    def run_iter(self, data_batch: Any) -> None:
        """Run the batches of one update."""
        self.runner.call_hook('before_train_iter', batch_idx=self.iter, data_batch=data_batch)
        self._count_images()
        batches = data_batch if self._count > 1 else [data_batch]
        logs = [self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper) for batch in batches]
        outputs = logs[0]
        if self._count > 1:
            outputs = {name: torch.stack([log[name] for log in logs]).mean() for name in outputs}
        self.runner.call_hook('after_train_iter', batch_idx=self.iter, data_batch=data_batch, outputs=outputs)
        self._iter += 1  # mmengine's counter, without a public setter

    @property
    def images_per_update(self) -> int:
        """Images that all ranks together use in an iteration."""
        batch_size = getattr(self.dataloader.batch_sampler, 'batch_size', None) or 1
        return batch_size * self._count * get_world_size()

    def _next_update(self) -> Any:
        batches = [next(self.dataloader_iterator) for _ in range(self._count)]
        return batches if self._count > 1 else batches[0]

    def _count_images(self) -> None:
        """Record the position in the sequence of images, for the checkpoint of this iteration."""
        self._seen += self.images_per_update
        sampler_seed = getattr(self.dataloader.sampler, 'seed', None)
        self.runner.message_hub.update_info_dict(dict(images_seen=self._seen, sampler_seed=sampler_seed))

    def _resume(self) -> None:
        info = self.runner.message_hub.runtime_info  # the checkpoint's
        self._seen = info.get('images_seen', self.iter * self.images_per_update)
        sampler = self.dataloader.sampler
        if isinstance(sampler, SequenceSampler):
            sampler.seed = info.get('sampler_seed', sampler.seed)
            sampler.start_at(self._seen)
            self.dataloader_iterator = type(self.dataloader_iterator)(self.dataloader)
            self.runner.logger.info(f'resumed after {self._seen} images, at iteration {self.iter + 1}')
        else:
            self.runner.logger.warning(
                f'`train_dataloader.sampler` is {type(sampler).__name__}: the resumed run loads the images of an '
                'uninterrupted one, but other crops and flips; SequenceSampler repeats those too'
            )
            for _ in range(self.iter * self._count):
                next(self.dataloader_iterator)
        self._decide_current_val_interval()
        if self._validation_is_due() and not self._was_validated():
            self.runner.logger.info(f'the validation of iteration {self.iter} was not finished and is repeated first')
            self._validate()

    def _validation_is_due(self) -> bool:
        last = self.iter == self.max_iters
        due = self.iter >= self.val_begin and (self.iter % self.val_interval == 0 or last)
        return due and self.runner.val_loop is not None

    def _validate(self) -> None:
        self.runner.val_loop.run()
        if is_main_process():
            write_text(self._validation_record, str(self.iter))

    def _was_validated(self) -> bool:
        """Return whether the validation of this iteration was finished, the same on all ranks."""
        record = self._validation_record
        answer = torch.tensor(int(record.is_file() and record.read_text() == str(self.iter)))
        broadcast(answer)
        return bool(answer)

    @property
    def _validation_record(self) -> Path:
        """File with the iteration of the last validation that was finished."""
        return Path(self.runner.work_dir, 'last_validation')
