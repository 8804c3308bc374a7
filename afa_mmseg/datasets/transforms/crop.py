"""Random crop that records which part of it holds image."""

from collections.abc import Sequence
from typing import NamedTuple, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS


class Span(NamedTuple):
    """Pixels along one axis: their start in the image, their start in the crop, and their number."""

    source: int
    target: int
    length: int


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
    def _random_spans(self, height: int, width: int) -> tuple[Span, Span]:
        return _random_span(height, self.crop_size[0]), _random_span(width, self.crop_size[1])

    def transform(self, results: dict) -> dict:
        """Crop `img` and the `seg_fields`; set `img_box` and `img_shape`."""
        rows, cols = self._random_spans(*results['img'].shape[:2])
        results['img'] = self._crop(results['img'], rows, cols, self.pad_val)
        for key in results.get('seg_fields', []):
            results[key] = self._crop(results[key], rows, cols, self.seg_pad_val)
        results['img_box'] = (
            rows.target,
            rows.target + rows.length,
            cols.target,
            cols.target + cols.length,
        )
        results['img_shape'] = self.crop_size
        return results

    def _crop(self, source: np.ndarray, rows: Span, cols: Span, value: int) -> np.ndarray:
        crop = np.full((*self.crop_size, *source.shape[2:]), value, dtype=source.dtype)
        crop[rows.target : rows.target + rows.length, cols.target : cols.target + cols.length] = source[
            rows.source : rows.source + rows.length, cols.source : cols.source + cols.length
        ]
        return crop

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, pad_val={self.pad_val}, seg_pad_val={self.seg_pad_val})'
        )


def _random_span(size: int, crop: int) -> Span:
    """Draw where `size` pixels of an image go in `crop` pixels, each place with the same probability."""
    # NumPy's global state: mmengine seeds it in every worker.
    offset = int(np.random.randint(abs(size - crop) + 1))  # noqa: NPY002
    return Span(0, offset, size) if size <= crop else Span(offset, 0, crop)
