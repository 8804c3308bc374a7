"""IoU, and predictions as PNGs with the palette of the data set."""

import os.path as osp
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from ..utils import save_mask


@METRICS.register_module()
class PaletteIoUMetric(IoUMetric):
    """mmseg's `IoUMetric`, whose PNGs carry the data set's palette, as VOC's evaluation server requires.

    With `output_dir` each prediction becomes `{image id}.png`, pixels being class indices; `format_only=True`
    needs no ground truth. Arguments are those of `IoUMetric`.
    """

    output_dir: Optional[str]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch of predictions, and write these."""
        folder, self.output_dir = self.output_dir, None
        super().process(data_batch, data_samples)
        self.output_dir = folder
        if folder is not None:
            for sample in data_samples:
                self._write(sample['pred_sem_seg']['data'].squeeze(0), osp.basename(sample['img_path']), folder)

    def _write(self, label: Any, filename: str, folder: str) -> None:
        path = osp.join(folder, osp.splitext(filename)[0] + '.png')
        save_mask(label.cpu().numpy().astype(np.uint8), self.dataset_meta['palette'], path)
