"""Loading of masks that are looked at before anything is measured with them."""

from collections.abc import Mapping
from typing import Optional

import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from ...utils.checks import first_few
from ..images import BrokenImageError, WrongMaskError, decode_image

REMEDY = 'Save it as 8-bit PNG of class indices, grey-scale or with a palette.'


@TRANSFORMS.register_module(name='LoadAnnotations', force=True)
class LoadMask(LoadAnnotations):
    """mmseg's `LoadAnnotations`, which refuses masks that do not fit their picture or their classes.

    It bears that name in mmseg's scope, so that configs need nothing else. Masks of data sets that do not tell their
    `num_values`, which are mmseg's own, are loaded as ever.

    Raises:
        BrokenImageError: The mask cannot be decoded.
        WrongMaskError: It has another size than the picture, colours, or values that are no class.
        ValueError: The data set has no masks.
    """

    def _load_seg_map(self, results: dict) -> None:
        if 'num_values' not in results:
            super()._load_seg_map(results)
            return
        if 'seg_map_path' not in results:
            raise ValueError(
                "the pipeline has `LoadAnnotations`, but `data_prefix` has no 'seg_map_path': name the folder of masks "
                'there, or take `LoadAnnotations` out'
            )
        reduces = results['reduce_zero_label']
        if self.reduce_zero_label not in (None, reduces):
            raise ValueError(
                f'`reduce_zero_label` of LoadAnnotations is {self.reduce_zero_label}, of the data set {reduces}: '
                'set it in the data set alone'
            )
        path = results['seg_map_path']
        mask = self._decode(path)
        check_mask(mask, path, results['num_values'] + bool(reduces), results['ignore_index'], results.get('ori_shape'))
        results['gt_seg_map'] = relabel(mask, results['label_map'], reduce_zero=reduces)
        results['seg_fields'].append('gt_seg_map')

    def _decode(self, path: str) -> np.ndarray:
        data = fileio.get(path, backend_args=self.backend_args)
        try:
            return decode_image(data, path, 'unchanged', self.imdecode_backend)
        except (OSError, SyntaxError, BrokenImageError) as error:
            raise BrokenImageError(f'mask {path} cannot be read: {error}\n  {REMEDY}') from error


def check_mask(
    mask: np.ndarray, path: str, num_values: int, ignore_index: int, size: Optional[tuple[int, int]] = None
) -> None:
    """Raise a `WrongMaskError` unless a mask holds class indices, one for each pixel of its picture.

    Args:
        mask: As it is in the file.
        path: Of the file, for messages.
        num_values: Pixels are 0 to this, less one, ...
        ignore_index: ... or this.
        size: Height and width of the picture, if it is known.
    """
    if mask.ndim != 2 or mask.dtype.kind not in 'bui':
        raise WrongMaskError(
            f'mask {path} holds {"colours" if mask.ndim > 2 else mask.dtype}, not class indices\n  {REMEDY}'
        )
    if size is not None and mask.shape != tuple(size):
        (height, width), (rows, cols) = mask.shape, size
        raise WrongMaskError(
            f'mask {path} has {width} x {height} pixels, its picture {cols} x {rows}\n'
            '  Draw it on the picture as it is shown: loading turns pictures as EXIF says, but not their masks.'
        )
    wrong = ((mask < 0) | (mask >= num_values)) & (mask != ignore_index)
    if wrong.any():
        raise WrongMaskError(
            f'mask {path} holds {first_few(np.unique(mask[wrong]).tolist())}; allowed are 0 to {num_values - 1}, the '
            f'classes, and {ignore_index}, which is ignored\n  {REMEDY} Or correct the classes of the data set.'
        )


def relabel(mask: np.ndarray, label_map: Optional[Mapping[int, int]], *, reduce_zero: bool) -> np.ndarray:
    """Give pixels the indices of the classes that are wanted, by the rules of mmseg's `LoadAnnotations`.

    Args:
        mask: Class indices of all of `METAINFO`, in 8 bits.
        label_map: New index by old one.
        reduce_zero: Ignore 0 and count down the others, before that.

    Shape:
        mask (H, W); output (H, W), uint8.
    """
    labels = mask.astype(np.uint8)
    if not label_map and not reduce_zero:
        return labels
    values = np.arange(256)
    if reduce_zero:
        values = np.where(values % 255 == 0, 255, values - 1)
    return np.array([(label_map or {}).get(value, value) for value in values.tolist()], np.uint8)[labels]
