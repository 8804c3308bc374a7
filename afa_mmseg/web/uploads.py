"""Uploaded images: limits, decoding, conversion to RGB."""

import warnings
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from ..visualization.overlays import Image

#: Accepted formats; Pillow supports more, some of which start other programs.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF')
#: Modes of PIL with more than 8 bits per value.
DEEP_MODES = ('I', 'F')
WHITE = (255, 255, 255, 255)


class Limits(NamedTuple):
    """Limits of uploads."""

    max_mb: float = 10  # of a file
    max_pixels: int = 25_000_000  # width times height, checked before decoding
    max_side: int = 640  # larger images are downscaled for the network
    max_visitors: int = 8  # sessions kept; the one idle for longest is dropped first

    @property
    def max_bytes(self) -> int:
        """File size in bytes."""
        return int(self.max_mb * 1e6)

    def check(self) -> None:
        """Raise a `ValueError` for a limit that is not positive."""
        for name, value in self._asdict().items():
            if value <= 0:
                raise ValueError(f'--{name.replace("_", "-")} is {value:g}: use a positive number')


def read_upload(path: Union[str, Path], limits: Limits) -> tuple[Image, tuple[int, int]]:
    """Read an image as browsers show it: rotated by its EXIF orientation, the first frame, on white.

    Returns:
        RGB (H, W, 3), no side above `max_side`, and height and width of the file.

    Raises:
        ValueError: It is too large, damaged, or not an image.
    """
    size = Path(path).stat().st_size
    if size > limits.max_bytes:
        raise ValueError(f'the file has {size / 1e6:.1f} MB; the limit is {limits.max_mb:g} MB')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large images: they are refused below
            with PILImage.open(path, formats=FORMATS) as file:
                if file.width * file.height > limits.max_pixels:
                    raise PILImage.DecompressionBombError
                image = to_rgb(ImageOps.exif_transpose(file))
    except PILImage.DecompressionBombError as error:
        raise ValueError(f'the image has too many pixels; the limit is {limits.max_pixels:,}') from error
    except UnidentifiedImageError as error:
        raise ValueError(f'not an image of the accepted formats: {", ".join(FORMATS)}') from error
    except (OSError, SyntaxError, ValueError, IndexError) as error:
        raise ValueError(f'the image cannot be read: {error}') from error
    whole = image.size[::-1]
    if max(whole) > limits.max_side:
        image.thumbnail((limits.max_side, limits.max_side), PILImage.Resampling.LANCZOS)
    return np.array(image), whole


def to_rgb(image: PILImage.Image) -> PILImage.Image:
    """Convert an image of any mode to 8-bit RGB on white."""
    if image.mode.startswith(DEEP_MODES):
        values = np.asarray(image).clip(0)
        top = 65535 if image.mode.startswith('I;') else max(float(values.max()), 1e-12)  # others have no fixed range
        return PILImage.fromarray(np.rint(values / top * 255).astype(np.uint8)).convert('RGB')
    if image.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info:
        image = image.convert('RGBA')
        return PILImage.alpha_composite(PILImage.new('RGBA', image.size, WHITE), image).convert('RGB')
    return image.convert('RGB')
