"""Outlines of COCO's annotations: polygons and run-length encodings."""

from importlib import import_module
from typing import Any, Union

import numpy as np

#: Polygons [x0, y0, x1, y1, ...] in pixels, or a run-length encoding, `counts` and `size`.
Shape = Union[list[np.ndarray], dict[str, Any]]
#: Two numbers a corner, three corners: less encloses nothing.
MIN_NUMBERS = 6


def compact_polygons(polygons: list) -> list:
    """Turn lists of numbers into arrays, with an eighth of the memory; what is malformed stays, for `check_shape`."""
    try:
        return [np.array(polygon, np.float64) for polygon in polygons]
    except (TypeError, ValueError):
        return polygons


def drop_short_polygons(shape: Shape) -> Shape:
    """Leave out polygons of fewer than three corners; the very same object if there are none."""
    if isinstance(shape, dict) or all(len(polygon) >= MIN_NUMBERS for polygon in shape):
        return shape
    return [polygon for polygon in shape if len(polygon) >= MIN_NUMBERS]


def read_shape(shape: Any, height: int, width: int) -> Shape:
    """Check an outline, and unpack it if it is a compressed run-length encoding.

    Args:
        shape: Polygons, after `compact_polygons`, or a run-length encoding.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.

    Raises:
        ValueError: It is no outline, or none in a picture of this size.
    """
    if isinstance(shape, dict):
        return dict(size=[height, width], counts=_read_runs(shape, height, width))
    if not isinstance(shape, list):
        shown = 'missing' if shape is None else repr(shape)
        raise ValueError(f'`segmentation` is {shown}; it must be polygons or a run-length encoding')
    for polygon in shape:
        _check_polygon(polygon, height, width)
    return shape


def draw_shape(shape: Shape, height: int, width: int) -> np.ndarray:
    """Draw an outline as pycocotools does: polygons of an annotation are united.

    Shape:
        output (height, width), bool.
    """
    if not shape:
        return np.zeros((height, width), bool)
    api = mask_api()
    runs = api.frPyObjects(shape, height, width)
    return api.decode(api.merge(runs) if isinstance(runs, list) else runs).view(bool)


def mask_api() -> Any:
    """Import `pycocotools.mask`, which is an extra."""
    try:
        return import_module('pycocotools.mask')
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'pycocotools, which draws COCO\'s masks, is not installed.\n  pip install -e ".[converters]"'
        ) from error


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    if not isinstance(polygon, np.ndarray) or polygon.ndim != 1 or len(polygon) % 2:
        raise ValueError('a polygon is not a list of numbers x0, y0, x1, y1, ...')
    if not len(polygon):
        return
    corners = polygon.reshape(-1, 2)
    # Corners a little outside are cut off in drawing; these can only be meant for another picture.
    for axis, low, high, side in zip('xy', corners.min(axis=0), corners.max(axis=0), (width, height)):
        if not (low >= -side and high <= 2 * side):  # nor with NaN
            raise ValueError(
                f'a polygon reaches from {axis} = {low:g} to {high:g}, far outside its picture of {width} x {height}'
            )


def _read_runs(runs: dict[str, Any], height: int, width: int) -> np.ndarray:
    size, counts = runs.get('size'), runs.get('counts')
    if size != [height, width]:
        raise ValueError(f'its mask is {size} (height, width), its picture {[height, width]}')
    if isinstance(counts, str):
        counts = _unpack_runs(counts)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise ValueError('`counts` of a run-length encoding is neither text nor a list of whole numbers')
    if sum(counts) != height * width:
        raise ValueError(f'run lengths add up to {sum(counts)} pixels, but its picture has {height * width}')
    return np.array(counts, np.uint32)


def _unpack_runs(text: str) -> list[int]:
    """Unpack COCO's text form: digits of 5 bits, least first; from the fourth on, differences to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for digit in (ord(character) - 48 for character in text):
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:  # the number's last digit; its highest bit is the sign
            value -= (digit & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
