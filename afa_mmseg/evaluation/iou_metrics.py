"""mIoU of segmentations and of CAMs, each table under its name, and predictions as PNGs."""

import os.path as osp
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from ..utils import save_mask

#: Names of the maps in predictions.
TITLES = dict(
    pred_cam='CAM',
    pred_aux_cam='auxiliary CAM',
    pred_propagated_cam='propagated CAM',
    pred_refined_cam='refined CAM',
)


class TitledIoUMetric(IoUMetric):
    """mmseg's `IoUMetric` that logs whose table follows."""

    title = 'segmentation'

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Log the title, and the table as mmseg does; return the means."""
        print_log(f'IoU of the {self.title}:', logger='current')
        return super().compute_metrics(results)


@METRICS.register_module()
class PaletteIoUMetric(TitledIoUMetric):
    """IoU of segmentations; PNGs of them carry the data set's palette, as VOC's evaluation server requires.

    With `output_dir` each prediction becomes `{image id}.png`, pixels being class indices; `format_only=True`
    needs no ground truth. Arguments are those of mmseg's `IoUMetric`.
    """

    output_dir: Optional[str]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch of predictions, and write these."""
        folder, self.output_dir = self.output_dir, None
        super().process(data_batch, data_samples)
        self.output_dir = folder
        if folder is not None:
            for sample in data_samples:
                name = sample.get('img_id') or osp.splitext(osp.basename(sample['img_path']))[0]
                self._write(sample['pred_sem_seg']['data'].squeeze(0), osp.join(folder, f'{name}.png'))

    def _write(self, label: Any, path: str) -> None:
        save_mask(label.cpu().numpy().astype(np.uint8), self.dataset_meta['palette'], path)


@METRICS.register_module()
class CAMIoUMetric(TitledIoUMetric):
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
        self.title = TITLES.get(field, field)

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
