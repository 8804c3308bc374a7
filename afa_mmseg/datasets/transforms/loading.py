"""Loading of images: a limit of pixels, and one rule for EXIF orientations."""

from typing import Optional

import mmcv.transforms
import numpy as np
from mmengine import fileio
from mmseg.registry import TRANSFORMS

from ..images import BrokenImageError, decode_image

#: How mmcv names decoding in colour, with EXIF orientations applied and without.
AS_SHOWN, AS_STORED = 'color', 'color_ignore_orientation'


@TRANSFORMS.register_module()
class LoadImage(mmcv.transforms.LoadImageFromFile):
    """mmcv's `LoadImageFromFile` with a limit of pixels (see `decode_image`) and the data set's rule for EXIF.

    An image is turned as its EXIF orientation says, unless its data set has masks of the stored pixels: that is
    `exif_orientation = False` of `ImageLevelDataset`, so of VOC and COCO. `LoadMask` follows the same rule. Images
    without a data set, as in inference, are turned. `color_type='color_ignore_orientation'` never turns.

    Raises:
        BrokenImageError: The image cannot be decoded, or is too large.
    """

    def transform(self, results: dict) -> Optional[dict]:
        """Load `img_path`; set `img`, `img_shape`, `ori_shape`."""
        path = results['img_path']
        as_stored = self.color_type == AS_SHOWN and not results.get('exif_orientation', True)
        try:
            data = fileio.get(path, backend_args=self.backend_args or self.file_client_args)
            image = decode_image(data, path, AS_STORED if as_stored else self.color_type, self.imdecode_backend)
        except (OSError, BrokenImageError):
            if self.ignore_empty:
                return None
            raise
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
