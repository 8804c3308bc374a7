"""The classes of ShapesVOC, and where objects lie in an image.

Lengths are fractions of the image's side; x goes right, y goes down.
"""

import math
from typing import Callable, NamedTuple

import numpy as np
from numpy.random import RandomState
from PIL import Image, ImageDraw

Polygon = list[tuple[float, float]]

#: How often an image has one, two, three objects.
COUNT_SHARES = (0.4, 0.5, 0.1)
#: Object width as a fraction of the image's, by the number of objects.
WIDTH_RANGES = {1: (0.55, 0.75), 2: (0.5, 0.68), 3: (0.42, 0.55)}
#: How often an object is of a class that the image does not have yet, at the least.
NEW_CLASS_SHARE = 0.85
#: An object counts if this part of it is in the image and not hidden ...
MIN_VISIBLE = 0.4
#: ... and covers this part of the image.
MIN_AREA = 0.03
SUPERSAMPLING = 4


class Shape(NamedTuple):
    """What makes a class: outline and hole in the unit circle, texture of (u, v) in [-1, 1], and mean hue."""

    outline: Polygon
    hole: Polygon
    texture: Callable[[np.ndarray, np.ndarray], np.ndarray]
    hue: float


class Item(NamedTuple):
    """An object in its place: coverage (H, W) in [0, 1] and the coordinates (H, W) of its texture."""

    name: str
    alpha: np.ndarray
    u: np.ndarray
    v: np.ndarray


def draw_layout(rng: RandomState, size: int) -> tuple[list[Item], np.ndarray]:
    """Throw one to three objects down, again until each is in good part visible; later ones lie on top.

    Returns:
        The objects, and the map (H, W) of which one is seen where: 0 = none, k = the k-th.
    """
    while True:
        items = _throw_items(rng, size)
        instances = np.zeros((size, size), np.uint8)
        for k, item in enumerate(items, 1):
            instances[item.alpha >= 0.5] = k
        if all(_is_visible(instances == k, item) for k, item in enumerate(items, 1)):
            return items, instances


def coverage(outline: Polygon, hole: Polygon, size: int) -> np.ndarray:
    """Fraction of each pixel (H, W) that a polygon with a hole covers."""
    side = size * SUPERSAMPLING
    mask = Image.new('L', (side, side))
    for polygon, value in ((outline, 255), (hole, 0)):
        if polygon:
            corners = [(round(x * side), round(y * side)) for x, y in polygon]
            ImageDraw.Draw(mask).polygon(corners, fill=value)
    return np.asarray(mask.reduce(SUPERSAMPLING), np.float64) / 255


def pixel_centres(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y (H, W) of every pixel."""
    centres = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    return x, y


def _throw_items(rng: RandomState, size: int) -> list[Item]:
    count = 1 + int(np.searchsorted(np.cumsum(COUNT_SHARES[:-1]), rng.uniform()))
    names: list[str] = []
    for _ in range(count):
        unused = [name for name in SHAPES if name not in names]
        pool = unused if rng.uniform() < NEW_CLASS_SHARE else list(SHAPES)
        names.append(pool[int(rng.uniform() * len(pool))])
    return [_place(rng, name, rng.uniform(*WIDTH_RANGES[count]), size) for name in names]


def _place(rng: RandomState, name: str, width: float, size: int) -> Item:
    """Rotate, stretch and shift a shape; `width` is the larger side of its upright bounding box."""
    turn, stretch = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1.0)
    cos, sin = math.cos(turn), math.sin(turn)
    outline, hole = (
        [(cos * x - sin * y * stretch, sin * x + cos * y * stretch) for x, y in polygon]
        for polygon in (SHAPES[name].outline, SHAPES[name].hole)
    )
    extent = [max(axis) - min(axis) for axis in zip(*outline)]
    scale = width / max(extent)
    # About a tenth of the width may be outside the image.
    cx, cy = (rng.uniform(0.4 * side * scale, 1 - 0.4 * side * scale) for side in extent)
    outline, hole = ([(cx + scale * x, cy + scale * y) for x, y in polygon] for polygon in (outline, hole))
    x, y = pixel_centres(size)
    u = (cos * (x - cx) + sin * (y - cy)) / scale
    v = (cos * (y - cy) - sin * (x - cx)) / (scale * stretch)
    return Item(name, coverage(outline, hole, size), u, v)


def _is_visible(visible: np.ndarray, item: Item) -> bool:
    shape = SHAPES[item.name]
    # Texture coordinates are affine: a pixel's area in them turns the outline's area into pixels.
    pixel = abs(
        (item.u[0, 1] - item.u[0, 0]) * (item.v[1, 0] - item.v[0, 0])
        - (item.u[1, 0] - item.u[0, 0]) * (item.v[0, 1] - item.v[0, 0])
    )
    whole = (_area(shape.outline) - _area(shape.hole)) / pixel
    return bool(visible.sum() >= max(MIN_VISIBLE * whole, MIN_AREA * visible.size))


def _area(polygon: Polygon) -> float:
    following = polygon[1:] + polygon[:1]
    return 0.5 * abs(sum(x * b - a * y for (x, y), (a, b) in zip(polygon, following)))


def _polygon(*radii: float, count: int) -> Polygon:
    """Corners at even angles around the origin, with these radii, `count` times over."""
    total = len(radii) * count
    return [
        (radius * math.sin(2 * math.pi * i / total), -radius * math.cos(2 * math.pi * i / total))
        for i, radius in enumerate(radii * count)
    ]


def _plus(arm: float) -> Polygon:
    """A plus sign of half width 1 with arms of half width `arm`."""
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    corners: Polygon = []
    for _ in range(4):
        corners += quarter
        quarter = [(-y, x) for x, y in quarter]
    return corners


def _wave(phase: np.ndarray) -> np.ndarray:
    """A sine wave with flattened crests."""
    return np.clip(1.8 * np.sin(2 * math.pi * phase), -1, 1)


def _rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _wave(3.2 * np.hypot(u, v))


def _checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _wave(1.6 * (u + v)) * _wave(1.6 * (u - v))


def _stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _wave(3.4 * v)


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.clip(2.5 * (np.cos(11 * u) * np.cos(11 * v) - 0.3), -0.3, 1)


def _spokes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _wave(7 * np.arctan2(v, u) / math.pi)


def _chevrons(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _wave(3.0 * (np.abs(u) - np.abs(v)))


#: By class; mean hues are evenly spaced.
SHAPES = {
    'disc': Shape(_polygon(1.0, count=64), [], _rings, 0 / 6),
    'square': Shape(_polygon(1.0, count=4), [], _checks, 1 / 6),
    'triangle': Shape(_polygon(1.0, count=3), [], _stripes, 2 / 6),
    'star': Shape(_polygon(1.0, 0.45, count=5), [], _dots, 3 / 6),
    'ring': Shape(_polygon(1.0, count=64), _polygon(0.5, count=48), _spokes, 4 / 6),
    'cross': Shape(_plus(0.36), [], _chevrons, 5 / 6),
}
