"""Random scale of the image's own size."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import Resize
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

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ratio_range={self.ratio_range})'
