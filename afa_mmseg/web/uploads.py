"""Uploaded images: limits and decoding."""

import io
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from ..apis.images import shrink
from ..datasets.images import check_whole, decode_image, no_warnings
from ..visualization.overlays import Image

#: Accepted formats; Pillow supports more, some of which start other programs.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF')


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
    """Read an image as inference does; see `decode_image`.

    Returns:
        RGB (H, W, 3), no side above `max_side`, and height and width before.

    Raises:
        ValueError: It is too large, damaged, or not an image.
    """
    data = Path(path).read_bytes()
    if len(data) > limits.max_bytes:
        raise ValueError(f'the file has {len(data) / 1e6:.1f} MB; the limit is {limits.max_mb:g} MB')
    try:
        with no_warnings(), PILImage.open(io.BytesIO(data), formats=FORMATS) as header:
            if header.width * header.height > limits.max_pixels:
                raise PILImage.DecompressionBombError
        check_whole(path)
    except PILImage.DecompressionBombError as error:
        raise ValueError(f'the image has too many pixels; the limit is {limits.max_pixels:,}') from error
    except UnidentifiedImageError as error:
        raise ValueError(f'not an image of the accepted formats: {", ".join(FORMATS)}') from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'the image cannot be read: {error}') from error
    image = decode_image(data, 'the file')
    return np.ascontiguousarray(shrink(image, limits.max_side)[..., ::-1]), image.shape[:2]
