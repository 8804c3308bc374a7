"""Pictures from anywhere: what is too large or no picture is refused, all others become RGB."""

import warnings
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from ..visualization.overlays import Image

#: What is opened; PIL knows more, among them formats that start other programs.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF')
#: Modes of PIL with more than 8 bits per value.
DEEP_MODES = ('I', 'F')
WHITE = (255, 255, 255, 255)


class Limits(NamedTuple):
    """What a page takes from its visitors.

    Args:
        max_mb: Size of a file, in megabytes.
        max_pixels: Width times height of a picture; the header tells, before anything is decoded.
        max_side: Longer side at which a picture enters the network; larger ones are made smaller.
        max_visitors: For how many the page remembers a picture; the one idle for longest is forgotten first.
    """

    max_mb: float = 10
    max_pixels: int = 25_000_000
    max_side: int = 640
    max_visitors: int = 8

    @property
    def max_bytes(self) -> int:
        """Size of a file, in bytes."""
        return int(self.max_mb * 1e6)

    def check(self) -> None:
        """Refuse limits that let nothing pass.

        Raises:
            ValueError: One of them is not positive.
        """
        for name, value in self._asdict().items():
            if value <= 0:
                raise ValueError(f'--{name.replace("_", "-")} is {value:g}; give a positive number')


def read_upload(path: Union[str, Path], limits: Limits) -> tuple[Image, tuple[int, int]]:
    """Read a picture the way a browser shows it: turned as its EXIF says, the first frame, on white.

    Args:
        path: The file; its content tells the format.
        limits: Of file and picture.

    Returns:
        RGB (H, W, 3), no side above `max_side`, and height and width of the file.

    Raises:
        ValueError: It is too large, damaged, or no picture.
    """
    size = Path(path).stat().st_size
    if size > limits.max_bytes:
        raise ValueError(f'the file has {size / 1e6:.1f} MB; this page takes up to {limits.max_mb:g} MB')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large pictures: they are refused below
            with PILImage.open(path, formats=FORMATS) as file:
                _check_pixels(file, limits)
                picture = to_rgb(ImageOps.exif_transpose(file))
    except PILImage.DecompressionBombError as error:
        raise ValueError(f'the picture has too many pixels; this page takes up to {limits.max_pixels:,}') from error
    except UnidentifiedImageError as error:
        raise ValueError(f'this is no picture that the page knows: {", ".join(FORMATS)}') from error
    except (OSError, SyntaxError, ValueError, IndexError) as error:
        raise ValueError(f'the picture cannot be read: {error}') from error
    whole = picture.size[::-1]
    if max(whole) > limits.max_side:
        picture.thumbnail((limits.max_side, limits.max_side), PILImage.Resampling.LANCZOS)
    return np.array(picture), whole


def _check_pixels(picture: PILImage.Image, limits: Limits) -> None:
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise PILImage.DecompressionBombError


def to_rgb(picture: PILImage.Image) -> PILImage.Image:
    """Bring a picture of any mode to 8-bit RGB; what is transparent becomes white."""
    if picture.mode.startswith(DEEP_MODES):
        return PILImage.fromarray(_to_8_bits(np.asarray(picture), sixteen=picture.mode.startswith('I;'))).convert('RGB')
    if picture.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in picture.info:
        picture = picture.convert('RGBA')
        return PILImage.alpha_composite(PILImage.new('RGBA', picture.size, WHITE), picture).convert('RGB')
    return picture.convert('RGB')


def _to_8_bits(values: np.ndarray, sixteen: bool) -> np.ndarray:
    """Scale 16-bit values as they are meant, and others, whose range nothing tells, to their largest."""
    top = 65535 if sixteen else max(float(values.max()), 1e-12)
    return np.rint(values.clip(0) / top * 255).astype(np.uint8)
