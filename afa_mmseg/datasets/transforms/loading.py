"""Loading of images and masks: a limit of pixels, one rule for EXIF orientations, checks of masks."""

import io
from collections.abc import Mapping
from typing import Optional

import mmcv.transforms
import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

from ...utils.checks import first_few
from ..images import BrokenImageError, WrongMaskError, decode_image

#: How mmcv names decoding in colour, with EXIF orientations applied and without.
AS_SHOWN, AS_STORED = 'color', 'color_ignore_orientation'
REMEDY = 'Save it as 8-bit PNG of class indices, grey-scale or with a palette.'
ORIENTATION_TAG = 0x0112  # of EXIF


@TRANSFORMS.register_module()
class LoadImage(mmcv.transforms.LoadImageFromFile):
    """mmcv's `LoadImageFromFile` with a limit of pixels (see `decode_image`) and the data set's rule for EXIF.

    An image is turned by its EXIF orientation, unless its data set has masks of the stored pixels: that is
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


@TRANSFORMS.register_module()
class LoadMask(LoadAnnotations):
    """mmseg's `LoadAnnotations`, which raises for masks that do not fit their image or their classes.

    A mask is turned by its own EXIF orientation, where its image is (see `LoadImage`). Masks of mmseg's own data
    sets, which lack `num_values`, are loaded as mmseg does. A sample of no data set, as in inference, passes through.

    Raises:
        BrokenImageError: The mask cannot be decoded.
        WrongMaskError: It has another size than the image, colours, or values that are no class.
        ValueError: The data set has no masks.
    """

    def transform(self, results: dict) -> dict:
        """Load `seg_map_path`; set `gt_seg_map`."""
        if 'seg_map_path' not in results and 'num_values' not in results:
            return results
        return super().transform(results)

    def _load_seg_map(self, results: dict) -> None:
        if 'num_values' not in results:
            super()._load_seg_map(results)  # mmseg's, without a public name
            return
        if 'seg_map_path' not in results:
            raise ValueError(
                "the pipeline has `LoadMask`, but `data_prefix` has no 'seg_map_path': name the folder of masks there, "
                'or take `LoadMask` out'
            )
        reduces = results['reduce_zero_label']
        if self.reduce_zero_label not in (None, reduces):
            raise ValueError(
                f'`reduce_zero_label` of LoadMask is {self.reduce_zero_label}, of the data set {reduces}: '
                'set it in the data set alone'
            )
        path = results['seg_map_path']
        mask = self._decode(path, upright=results.get('exif_orientation', True))
        check_mask(mask, path, results['num_values'] + bool(reduces), results['ignore_index'], results.get('ori_shape'))
        results['gt_seg_map'] = relabel(mask, results['label_map'], reduce_zero=reduces)
        results['seg_fields'].append('gt_seg_map')

    def _decode(self, path: str, *, upright: bool) -> np.ndarray:
        data = fileio.get(path, backend_args=self.backend_args)
        try:
            mask = decode_image(data, path, 'unchanged', self.imdecode_backend)
            return turn_upright(mask, data) if upright else mask
        except (OSError, SyntaxError, BrokenImageError) as error:
            raise BrokenImageError(f'mask {path} cannot be read: {error}\n  {REMEDY}') from error


def turn_upright(mask: np.ndarray, data: bytes) -> np.ndarray:
    """Turn the stored pixels (H, W) of the file `data` by its EXIF orientation; colours, which are no mask, stay."""
    with Image.open(io.BytesIO(data)) as file:
        orientation = file.getexif().get(ORIENTATION_TAG, 1)
    if orientation == 1 or mask.ndim > 2:
        return mask
    stored = Image.fromarray(mask)
    stored.getexif()[ORIENTATION_TAG] = orientation
    return np.array(ImageOps.exif_transpose(stored))


def check_mask(
    mask: np.ndarray, path: str, num_values: int, ignore_index: int, size: Optional[tuple[int, int]] = None
) -> None:
    """Raise a `WrongMaskError` unless a mask holds class indices below `num_values`, or the ignored one.

    Args:
        mask: As it is in the file.
        path: Of the file, for messages.
        num_values: Number of classes.
        ignore_index: Value of ignored pixels.
        size: Height and width of the image, if it is known.
    """
    if mask.ndim != 2 or mask.dtype.kind not in 'bui':
        raise WrongMaskError(
            f'mask {path} holds {"colours" if mask.ndim > 2 else mask.dtype}, not class indices\n  {REMEDY}'
        )
    if size is not None and mask.shape != tuple(size):
        (height, width), (rows, cols) = mask.shape, size
        raise WrongMaskError(
            f'mask {path} has {width} x {height} pixels, its image {cols} x {rows}\n'
            '  Fetch it again, or draw it on the image as it is shown, turned by its EXIF orientation.'
        )
    wrong = ((mask < 0) | (mask >= num_values)) & (mask != ignore_index)
    if wrong.any():
        raise WrongMaskError(
            f'mask {path} holds {first_few(np.unique(mask[wrong]).tolist())}; allowed are 0 to {num_values - 1}, the '
            f'classes, and {ignore_index}, which is ignored\n  {REMEDY} Or correct the classes of the data set.'
        )


def relabel(mask: np.ndarray, label_map: Optional[Mapping[int, int]], *, reduce_zero: bool) -> np.ndarray:
    """Map class indices (H, W) by `label_map`, by the rules of mmseg's `LoadAnnotations`.

    `reduce_zero` ignores 0 and counts down the others, before that.
    """
    labels = mask.astype(np.uint8)
    if not label_map and not reduce_zero:
        return labels
    values = np.arange(256)
    if reduce_zero:
        values = np.where(values % 255 == 0, 255, values - 1)
    return np.array([(label_map or {}).get(value, value) for value in values.tolist()], np.uint8)[labels]
