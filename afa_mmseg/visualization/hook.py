"""Hook that draws CAMs, pseudo-labels and predictions of fixed samples during training and validation."""

from collections.abc import Sequence
from typing import Any, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ..datasets.seeding import own_randomness
from ..engine.data_hooks import unwrap
from .samples import FixedSample, draw_sample, indices_of, take_samples


@HOOKS.register_module()
class WeakSegVisualizationHook(Hook):
    """Draw a panel for each of a few fixed samples: CAMs, pseudo-labels, affinity, attention, prediction.

    Panels are added to the visualizer of the Runner, so `vis_backends` decides between files, TensorBoard and W&B.
    Training crops are taken once, with a seed of their own: the hook does not change a run.

    Args:
        interval: Iterations between panels of training samples; 0 for none. Validation samples are drawn at each
            validation.
        num_samples: Samples from the start of the training and of the validation set.
        sample_ids: Ids to draw instead; each is looked up in both sets.
        num_points: Pixels of each sample whose affinity and attention are drawn, at most 2.
        seed: Of the crops.

    Raises:
        ValueError: A setting is out of range, an id is in no data set, or the segmentor has no CAMs.
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 1000,
        num_samples: int = 2,
        sample_ids: Optional[Sequence[str]] = None,
        num_points: int = 2,
        seed: int = 0,
    ) -> None:
        if interval < 0 or num_samples < 1 or not 0 <= num_points <= 2:
            raise ValueError(
                f'WeakSegVisualizationHook(interval={interval}, num_samples={num_samples}, num_points={num_points}): '
                'interval must not be negative, num_samples must be at least 1, and num_points 0, 1 or 2'
            )
        self.interval = interval
        self.num_samples = num_samples
        self.sample_ids = None if sample_ids is None else [str(name) for name in sample_ids]
        self.num_points = num_points
        self.seed = seed
        self._samples: dict[str, list[FixedSample]] = {}

    def before_run(self, runner: Any) -> None:
        """Check the settings, and take the samples of the loops that are about to run."""
        # `_train_loop`: the public `train_loop` would build the loop.
        loops: dict[str, Any] = {split: getattr(runner, f'_{split}_loop', None) for split in ('train', 'val')}
        datasets = {split: loop.dataloader.dataset for split, loop in loops.items() if hasattr(loop, 'dataloader')}
        if not datasets:
            return
        model = unwrap(runner.model)
        if not hasattr(model, 'explain'):
            raise ValueError(
                f'WeakSegVisualizationHook: model.type {type(model).__name__} has no CAMs to draw (no method '
                '`explain`): remove the hook from custom_hooks'
            )
        places = {split: self._find(dataset) for split, dataset in datasets.items()}
        if not any(places.values()):
            raise ValueError(
                f'sample_ids={self.sample_ids} of WeakSegVisualizationHook: no such id in the data set of '
                f'{" or ".join(f"{split}_dataloader" for split in datasets)}; write ids as in its list file'
            )
        if is_main_process():
            for split, indices in places.items():
                self._samples[split] = take_samples(datasets[split], indices, self.seed, crops=split == 'train')

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Optional[dict] = None, outputs: Optional[dict] = None
    ) -> None:
        """Draw the training samples."""
        if self.every_n_train_iters(runner, self.interval) and is_main_process():
            self._draw(runner, 'train', runner.train_dataloader.dataset.metainfo, runner.iter + 1)

    def after_val_epoch(self, runner: Any, metrics: Optional[dict] = None) -> None:
        """Draw the validation samples."""
        if is_main_process():
            self._draw(runner, 'val', runner.val_dataloader.dataset.metainfo, runner.iter)

    def _find(self, dataset: Any) -> list[int]:
        if self.sample_ids is None:
            return list(range(min(self.num_samples, len(dataset))))
        return indices_of(dataset, self.sample_ids)

    def _draw(self, runner: Any, split: str, metainfo: dict, step: int) -> None:
        model = unwrap(runner.model)
        for sample in self._samples.get(split, ()):
            with own_randomness(self.seed):
                panel = draw_sample(model, sample, metainfo, num_points=self.num_points)
            # Slashes of an id would name folders, which visualizers do not create.
            runner.visualizer.add_image(f'{split}_{sample.name}'.replace('/', '_'), panel, step)
