"""Packing of samples with image-level labels."""

from collections.abc import Sequence
from typing import Optional

import torch
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackImageLevelInputs(PackSegInputs):
    """Pack image, image-level label, image box and, where loaded, mask, as mmseg's `PackSegInputs` does.

    The sample gets the label as `gt_label`, a float32 multi-hot tensor (C,), and `img_id`, `img_box` and
    `num_labels`, the number of classes it holds, in its meta information. What the results lack is left out,
    so an image without label can be packed too.

    Args:
        meta_keys: Meta information to keep instead of that of `PackSegInputs`.
    """

    def __init__(self, meta_keys: Optional[Sequence[str]] = None) -> None:
        super().__init__(**({} if meta_keys is None else dict(meta_keys=meta_keys)))
        self.meta_keys: tuple[str, ...] = (*self.meta_keys, 'img_id', 'img_box')

    def transform(self, results: dict) -> dict:
        """Return `inputs` (3, H, W) and `data_samples`."""
        packed = super().transform(results)
        if 'gt_label' in results:
            label = torch.tensor(results['gt_label'], dtype=torch.float32)
            # mmpretrain's multi-label metrics read `gt_label` as a list of class indices, and `gt_score`
            # as a multi-hot vector.
            packed['data_samples'].set_data(dict(gt_label=label, gt_score=label))
            packed['data_samples'].set_metainfo(dict(num_labels=int((label != 0).sum())))
        return packed
