"""mIoU of CAMs."""

from collections.abc import Sequence
from typing import Any, Optional

import torch.nn.functional as F
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class CAMIoUMetric(IoUMetric):
    """IoU of a score map that a prediction carries, pooled over the data set as mmseg's `IoUMetric` does.

    Args:
        field: Which map to evaluate: 'pred_cam' (C, H, W), or one with background first (C + 1, H, W), such as
            'pred_propagated_cam'.
        bkg_score: Score of the background; for maps without a background channel, None otherwise.
        kwargs: Passed to `IoUMetric` (`iou_metrics`, `ignore_index`, `prefix`, ...).

    Raises:
        KeyError: predictions do not carry the map.
    """

    def __init__(self, field: str = 'pred_cam', bkg_score: Optional[float] = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.field = field
        self.bkg_score = bkg_score

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch of predictions."""
        super().process(
            data_batch, [{**sample, 'pred_sem_seg': {'data': self._label(sample)}} for sample in data_samples]
        )

    def _label(self, sample: dict) -> Any:
        if self.field not in sample:
            raise KeyError(
                f"predictions carry no '{self.field}' (`field` of CAMIoUMetric): validate with "
                "val_cfg=dict(type='CAMValLoop') or set model.test_cfg.with_cam=True. Where the method has no such map "
                '(without affinity there is no propagated CAM), leave this metric out of `val_evaluator`'
            )
        scores = sample[self.field]['data']
        if self.bkg_score is not None:
            scores = F.pad(scores, (0, 0, 0, 0, 1, 0), value=self.bkg_score)
        return scores.argmax(dim=0, keepdim=True)
