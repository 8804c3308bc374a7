"""Loading of pictures from anywhere."""

from typing import Optional

import mmcv.transforms
import numpy as np
from mmengine import fileio
from mmseg.registry import TRANSFORMS

from ..images import BrokenImageError, decode_image


@TRANSFORMS.register_module(name='LoadImageFromFile')
class LoadPicture(mmcv.transforms.LoadImageFromFile):
    """mmcv's `LoadImageFromFile`, which refuses pictures that are made to fill the memory.

    It bears that name in mmseg's scope, so that configs, mmseg's inference and ours all load alike; see
    `decode_image`.

    Raises:
        BrokenImageError: The picture cannot be decoded, or is too large.
    """

    def transform(self, results: dict) -> Optional[dict]:
        """Load `img_path`; set `img`, `img_shape`, `ori_shape`."""
        path = results['img_path']
        try:
            data = fileio.get(path, backend_args=self.backend_args or self.file_client_args)
            image = decode_image(data, path, self.color_type, self.imdecode_backend)
        except (OSError, BrokenImageError):
            if self.ignore_empty:
                return None
            raise
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
