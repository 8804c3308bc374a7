"""Multi-label F1, averaged over images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class ImageF1Metric(BaseMetric):
    """Mean over images of the F1 between an image's predicted classes and its labels, in percent.

    Macro F1, such as mmpretrain's, is the mean over classes instead. An image without label and without predicted class
    counts as 0, as scikit-learn's `f1_score` with `zero_division=0` has it.

    Args:
        thr: A class is predicted where its score is above.
        kwargs: Passed to mmengine's `BaseMetric` (`prefix`, `collect_device`).

    Raises:
        KeyError: Predictions lack `pred_score` or `gt_label`.
    """

    default_prefix = 'cls'

    def __init__(self, thr: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thr = thr

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Compute the F1 of each image of a batch."""
        for sample in data_samples:
            missing = [name for name in ('pred_score', 'gt_label') if name not in sample]
            if missing:
                raise KeyError(
                    f'predictions carry no {missing[0]!r} (ImageF1Metric): validate a data set with image-level labels '
                    "with val_cfg=dict(type='CAMValLoop'), or leave the metric out of `val_evaluator`"
                )
            predicted, present = sample['pred_score'] > self.thr, sample['gt_label'] > 0
            marked = int(predicted.sum() + present.sum())
            self.results.append(2 * int((predicted & present).sum()) / marked if marked else 0.0)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Average over images."""
        return dict(f1=100 * float(np.mean(results)))
