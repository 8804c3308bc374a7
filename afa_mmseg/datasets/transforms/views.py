"""More than one view of an image in a sample."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmseg.registry import TRANSFORMS

from .samples import PackImageLevelInputs


@TRANSFORMS.register_module()
class AddView(BaseTransform):
    """Keep a transformed copy of the image beside it.

    The image itself, its box and its mask stay as they are, whatever the transforms do to the copy.

    Args:
        key: Name of the copy among the results.
        transforms: Of the copy; they are given `img` and `img_shape` only.
    """

    def __init__(self, key: str, transforms: Sequence[dict]) -> None:
        self.key = key
        self.transforms = Compose(list(transforms))

    def transform(self, results: dict) -> dict:
        """Set the view `key`, (H, W, 3)."""
        view = self.transforms(dict(img=results['img'].copy(), img_shape=results['img'].shape[:2]))
        results[self.key] = view['img']
        return results


@TRANSFORMS.register_module()
class PackViews(PackImageLevelInputs):
    """Pack as `PackImageLevelInputs` does, with views of the image as fields of the sample.

    Args:
        views: Names of views that `AddView` made.
        kwargs: Passed to `PackImageLevelInputs`.

    Raises:
        KeyError: The results lack a view.
    """

    def __init__(self, views: Sequence[str] = ('view2', 'view3'), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.views = tuple(views)

    def transform(self, results: dict) -> dict:
        """Return `inputs` (3, H, W) and `data_samples`, with each view as a tensor (3, H, W) of raw pixel values."""
        packed = super().transform(results)
        for name in self.views:
            if name not in results:
                raise KeyError(f"PackViews found no view '{name}': add it by AddView(key='{name}', transforms=[...])")
            view = np.ascontiguousarray(results[name].transpose(2, 0, 1))
            packed['data_samples'].set_data({name: torch.from_numpy(view)})
        return packed
