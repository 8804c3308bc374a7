"""Transforms of samples with image-level labels: random scale, crop with box, packing."""

from collections.abc import Sequence
from typing import Optional, Union

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import PackSegInputs, Resize
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomScale(Resize):
    """Resize the image by a random factor, bilinearly; masks, where loaded, by nearest neighbour.

    Unlike mmcv's `RandomResize` it scales the image's own size, rounds down, and uses Pillow's bilinear
    filter, which averages where it shrinks.

    Args:
        ratio_range: Smallest and largest factor; drawn uniformly.

    Raises:
        ValueError: The factors are not two positive numbers in ascending order.
    """

    def __init__(self, ratio_range: Sequence[float] = (0.5, 2.0)) -> None:
        if len(ratio_range) != 2 or not 0 < ratio_range[0] <= ratio_range[1]:
            raise ValueError(f'`ratio_range` of RandomScale is {ratio_range}; write (smallest, largest), both above 0')
        super().__init__(scale_factor=1.0, backend='pillow')
        self.ratio_range = (float(ratio_range[0]), float(ratio_range[1]))

    @cache_randomness
    def _random_ratio(self) -> float:
        # NumPy's global state: mmengine seeds it in every worker.
        return np.random.uniform(*self.ratio_range)  # noqa: NPY002

    def transform(self, results: dict) -> dict:
        """Scale `img` and the `seg_fields`; set `img_shape`, `scale` (w, h), `scale_factor`, `keep_ratio`."""
        ratio = self._random_ratio()
        height, width = results['img'].shape[:2]
        results['scale'] = (max(int(ratio * width), 1), max(int(ratio * height), 1))
        self._resize_img(results)
        self._resize_seg(results)
        return results


@TRANSFORMS.register_module()
class RandomCropWithBox(BaseTransform):
    """Crop to a fixed size at a random place; paste a smaller image at a random place of a canvas.

    Both happen axis by axis, so a wide image may be cropped at its sides and padded above and below.
    `img_box` = (top, bottom, left, right), half-open, is the part of the crop that holds image.
    Transforms that move pixels must come before this one, or the box is wrong.

    Args:
        crop_size: Height and width, or the side of a square, in pixels.
        pad_val: Canvas value, as a pixel value before normalisation.
        seg_pad_val: Canvas value of masks.

    Raises:
        ValueError: `crop_size` is not made of positive integers.
    """

    def __init__(
        self,
        crop_size: Union[int, Sequence[int]] = (512, 512),
        pad_val: int = 0,
        seg_pad_val: int = 255,
    ) -> None:
        sides = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(
                f'`crop_size` of RandomCropWithBox is {crop_size!r}; write (height, width) in whole pixels above 0'
            )
        self.crop_size = (sides[0], sides[1])
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val

    @cache_randomness
    def _random_slices(self, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        return _random_slices(height, self.crop_size[0]), _random_slices(width, self.crop_size[1])

    def transform(self, results: dict) -> dict:
        """Crop `img` and the `seg_fields`; set `img_box` and `img_shape`."""
        (rows, to_rows), (cols, to_cols) = self._random_slices(*results['img'].shape[:2])
        for key in ('img', *results.get('seg_fields', [])):
            value = self.pad_val if key == 'img' else self.seg_pad_val
            crop = np.full((*self.crop_size, *results[key].shape[2:]), value, results[key].dtype)
            crop[to_rows, to_cols] = results[key][rows, cols]
            results[key] = crop
        results['img_box'] = (to_rows.start, to_rows.stop, to_cols.start, to_cols.stop)
        results['img_shape'] = self.crop_size
        return results


def _random_slices(size: int, crop: int) -> tuple[slice, slice]:
    """Draw which part of `size` pixels goes where in `crop` pixels, each place with the same probability."""
    # NumPy's global state: mmengine seeds it in every worker.
    offset = int(np.random.randint(abs(size - crop) + 1))  # noqa: NPY002
    if size <= crop:
        return slice(0, size), slice(offset, offset + size)
    return slice(offset, offset + crop), slice(0, crop)


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
