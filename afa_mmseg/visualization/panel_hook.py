"""Hook that draws a panel of every validation image."""

import os.path as osp
from collections.abc import Sequence
from typing import Any, Optional

import cv2
import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.utils import mkdir_or_exist
from mmseg.registry import HOOKS
from torch import Tensor

from .panel import panel_of_sample

FIELDS = ('pred_cam', 'pred_propagated_cam', 'pred_pseudo_label', 'pred_sem_seg')


@HOOKS.register_module()
class CAMPanelHook(Hook):
    """Write a picture per validation image: image, ground truth, CAMs, pseudo-label, prediction.

    Args:
        out_dir: Folder for `{id}.png`; made if it is not there.
    """

    priority = 'NORMAL'

    def __init__(self, out_dir: str) -> None:
        self.out_dir = out_dir

    def before_val(self, runner: Any) -> None:
        """Make the folder."""
        if is_main_process():
            mkdir_or_exist(self.out_dir)

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Optional[dict] = None, outputs: Optional[Sequence] = None
    ) -> None:
        """Draw the images of a batch."""
        palette = runner.val_dataloader.dataset.metainfo['palette']
        for inputs, sample in zip((data_batch or {})['inputs'], outputs or ()):
            image = np.ascontiguousarray(inputs.permute(1, 2, 0).cpu().numpy()[..., ::-1])  # BGR -> RGB
            image = cv2.resize(image, sample.get('ori_shape', image.shape)[1::-1])  # predictions have that size
            fields = {name: _to_array(sample.get(name).data) for name in FIELDS if name in sample}
            label = _to_array(sample.gt_sem_seg.data) if 'gt_sem_seg' in sample else None
            panel = panel_of_sample(image, fields, palette, label)
            name = sample.get('img_id', osp.splitext(osp.basename(sample.get('img_path', str(batch_idx))))[0])
            cv2.imwrite(osp.join(self.out_dir, f'{name.replace("/", "_")}.png'), panel[..., ::-1])


def _to_array(data: Tensor) -> np.ndarray:
    """Turn a map into an array, (1, H, W) label maps into (H, W)."""
    array = data.cpu().numpy()
    return array[0].astype(np.int64) if array.shape[0] == 1 and array.dtype.kind != 'f' else array
