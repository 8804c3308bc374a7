"""Drawing of ShapesVOC images, with NumPy and Pillow.

The same random state gives the same image on any machine: numbers come from `RandomState`, whose streams
NumPy has frozen; arithmetic is in float64, so that a last digit that differs between processors does not
survive the rounding to 8 bits; and Pillow's polygons, resizing and box blur count in whole numbers.

Lengths are fractions of the image's side; x goes right, y goes down.
"""

import colorsys
import math
from typing import Callable, NamedTuple

import numpy as np
from numpy.random import RandomState
from PIL import Image, ImageDraw, ImageFilter

Vector = tuple[float, float]
Polygon = list[Vector]

#: How often an image has one, two, three objects.
COUNT_SHARES = (0.4, 0.5, 0.1)
#: Object width by the number of objects.
WIDTH_RANGES = {1: (0.55, 0.75), 2: (0.5, 0.68), 3: (0.42, 0.55)}
#: How often an object is of a class that the image does not have yet, at the least.
NEW_CLASS_SHARE = 0.85
#: Share of an object that is in the image and not hidden, and share of the image that it covers, at the least.
MIN_VISIBLE, MIN_AREA = 0.4, 0.03
SUPERSAMPLING = 4
#: Hues of a class lie this far around its mean, mostly near it; classes are 1/6 apart, so neighbours overlap.
HUE_SPREAD = 0.1


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


class Scene(NamedTuple):
    """An image (H, W, 3) in uint8 RGB, its objects (H, W), 0 = none, k = k-th object, and their classes."""

    image: np.ndarray
    instances: np.ndarray
    names: list[str]


def draw_scene(rng: RandomState, size: int) -> Scene:
    """Draw one image of one to three objects, each of them in good part visible.

    Args:
        rng: Source of all randomness.
        size: Side in pixels.
    """
    items, instances = _draw_layout(rng, size)
    angle = rng.uniform(-0.85, -0.15) * math.pi  # the light comes from above
    light = (math.cos(angle), math.sin(angle))
    canvas = _draw_background(rng, size)
    for item in items:
        canvas = _paint(rng, canvas, item, light)
    x, y = _pixel_centres(size)
    falloff = 1 + rng.uniform(0.1, 0.3) * ((x - 0.5) * light[0] + (y - 0.5) * light[1])
    canvas = canvas * falloff[..., None] + 0.018 * rng.standard_normal(canvas.shape)
    image = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Scene(image, instances, [item.name for item in items])


# Layout


def _draw_layout(rng: RandomState, size: int) -> tuple[list[Item], np.ndarray]:
    """Place objects, again until each is in good part visible; later ones lie on top. Return them and their map."""
    while True:
        count = 1 + int(np.searchsorted(np.cumsum(COUNT_SHARES[:-1]), rng.uniform()))
        names: list[str] = []
        for _ in range(count):
            unused = [name for name in SHAPES if name not in names]
            pool = unused if rng.uniform() < NEW_CLASS_SHARE else list(SHAPES)
            names.append(pool[int(rng.uniform() * len(pool))])
        items = [_place(rng, name, rng.uniform(*WIDTH_RANGES[count]), size) for name in names]
        instances = np.zeros((size, size), np.uint8)
        for k, item in enumerate(items, 1):
            instances[item.alpha >= 0.5] = k
        if all(_is_visible(instances == k, item) for k, item in enumerate(items, 1)):
            return items, instances


def _place(rng: RandomState, name: str, width: float, size: int) -> Item:
    """Rotate, stretch and shift a shape; `width` is the larger side of its upright bounding box."""
    turn, stretch = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1.0)
    cos, sin = math.cos(turn), math.sin(turn)
    outline, hole = (
        [(cos * x - sin * y * stretch, sin * x + cos * y * stretch) for x, y in polygon] for polygon in SHAPES[name][:2]
    )
    extent = [max(axis) - min(axis) for axis in zip(*outline)]
    scale = width / max(extent)
    # About a tenth of the width may be outside the image.
    cx, cy = (rng.uniform(0.4 * side * scale, 1 - 0.4 * side * scale) for side in extent)
    outline, hole = ([(cx + scale * x, cy + scale * y) for x, y in polygon] for polygon in (outline, hole))
    x, y = _pixel_centres(size)
    u = (cos * (x - cx) + sin * (y - cy)) / scale
    v = (cos * (y - cy) - sin * (x - cx)) / (scale * stretch)
    return Item(name, _coverage(outline, hole, size), u, v)


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


def _coverage(outline: Polygon, hole: Polygon, size: int) -> np.ndarray:
    """Fraction of each pixel (H, W) that a polygon with a hole covers."""
    side = size * SUPERSAMPLING
    mask = Image.new('L', (side, side))
    for polygon, value in ((outline, 255), (hole, 0)):
        if polygon:
            corners = [(round(x * side), round(y * side)) for x, y in polygon]
            ImageDraw.Draw(mask).polygon(corners, fill=value)
    return np.asarray(mask.reduce(SUPERSAMPLING), np.float64) / 255


def _pixel_centres(size: int) -> tuple[np.ndarray, np.ndarray]:
    centres = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    return x, y


# Painting


def _paint(rng: RandomState, canvas: np.ndarray, item: Item, light: Vector) -> np.ndarray:
    """Lay an object and its soft shadow over the canvas."""
    away = [-round(0.045 * len(canvas) * part) for part in light]
    shadow = _shift(_blur(item.alpha, 0.035), *away) * (1 - item.alpha)
    canvas = canvas * (1 - rng.uniform(0.35, 0.6) * shadow)[..., None]
    colour = np.clip(_texture_colour(rng, item) * _lighting(item.alpha, light)[..., None], 0, 1)
    return canvas + item.alpha[..., None] * (colour - canvas)


def _texture_colour(rng: RandomState, item: Item) -> np.ndarray:
    """Colour of an object (H, W, 3): between a light and a dark tone of its hue, by its texture.

    The texture is strong at one side of the object and fades to the other: a classifier needs only a part.
    """
    shape = SHAPES[item.name]
    angle = rng.uniform(0, 2 * math.pi)
    along = item.u * math.cos(angle) + item.v * math.sin(angle)
    tone = 0.75 * np.clip(0.45 + 0.75 * along, 0.08, 1.0) * shape.texture(item.u, item.v)
    hue = shape.hue + 0.5 * rng.uniform(-HUE_SPREAD, HUE_SPREAD, 2).sum()
    saturation, value = rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.9)
    base = np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))
    bright = np.array(colorsys.hsv_to_rgb((hue + rng.uniform(-0.1, 0.1)) % 1, saturation * 0.7, 1.0))
    up, down = np.maximum(tone, 0)[..., None], np.maximum(-tone, 0)[..., None]
    return base + up * (bright - base) - down * 0.65 * base


def _lighting(alpha: np.ndarray, light: Vector) -> np.ndarray:
    """Brightness of an object like a cushion's: falling off over the whole, with a lit and a shaded rim."""
    x, y = _pixel_centres(len(alpha))
    centre_x, centre_y = (alpha * x).sum() / alpha.sum(), (alpha * y).sum() / alpha.sum()
    rise_y, rise_x = np.gradient(_blur(alpha, 0.03), 1 / len(alpha))
    lit = 0.9 + 0.7 * ((x - centre_x) * light[0] + (y - centre_y) * light[1])
    return np.clip(lit - 0.018 * (rise_x * light[0] + rise_y * light[1]), 0.3, 1.6)


def _draw_background(rng: RandomState, size: int) -> np.ndarray:
    """Coloured noise, stripes or blobs, and small marks that belong to no class."""
    base = np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.03, 0.3), rng.uniform(0.35, 0.7)))
    canvas = base + 0.2 * _noise(rng, size, 3, 1) + 0.08 * _noise(rng, size, 5, 3)
    canvas = canvas + 0.1 * _noise(rng, size, 13, 1) + 0.04 * _noise(rng, size, 13, 3)
    canvas = canvas + 0.08 * _noise(rng, size, 40, 1)
    x, y = _pixel_centres(size)
    kind = rng.uniform()
    if kind < 0.4:
        angle, waves = rng.uniform(0, 2 * math.pi), rng.uniform(5, 14)
        bend = 0.3 * _noise(rng, size, 4, 1)[..., 0]
        stripes = np.sin(2 * math.pi * (waves * (x * math.cos(angle) + y * math.sin(angle)) + bend))
        canvas = canvas + rng.uniform(0.05, 0.14) * stripes[..., None] * rng.uniform(0.3, 1.0, 3)
    elif kind < 0.75:
        blobs = np.clip(4 * _noise(rng, size, int(rng.uniform(6, 12)), 1), -1, 1)
        canvas = canvas + rng.uniform(0.06, 0.16) * blobs * rng.uniform(-1, 1, 3)
    for _ in range(int(rng.uniform(3, 9))):
        canvas = _draw_mark(rng, canvas)
    return np.clip(canvas, 0.03, 0.97)


def _draw_mark(rng: RandomState, canvas: np.ndarray) -> np.ndarray:
    """Add a stroke or an uneven chip of any colour."""
    cx, cy = rng.uniform(size=2)
    turn = rng.uniform(0, 2 * math.pi)
    if rng.uniform() < 0.5:
        length, width = rng.uniform(0.04, 0.13), rng.uniform(0.006, 0.015)
        corners = [(length, width), (-length, width), (-length, -width), (length, -width)]
    else:
        radii = zip((0, 1.2, 2.9, 4.4), rng.uniform(0.012, 0.055, 4))
        corners = [(radius * math.cos(a), radius * math.sin(a)) for a, radius in radii]
    cos, sin = math.cos(turn), math.sin(turn)
    alpha = _coverage([(cx + cos * x - sin * y, cy + sin * x + cos * y) for x, y in corners], [], len(canvas))
    colour = np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.1, 0.7), rng.uniform(0.25, 0.95)))
    return canvas + 0.85 * alpha[..., None] * (colour - canvas)


def _noise(rng: RandomState, size: int, cells: int, channels: int) -> np.ndarray:
    """Smooth noise (H, W, channels) in about [-1, 1] with `cells` waves across the image."""
    coarse = (rng.uniform(size=(channels, cells, cells)) * 255).astype(np.uint8)
    layers = [Image.fromarray(layer).resize((size, size), Image.Resampling.BICUBIC) for layer in coarse]
    return np.stack([np.asarray(layer, np.float64) for layer in layers], axis=-1) / 127.5 - 1


def _blur(alpha: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray((alpha * 255 + 0.5).astype(np.uint8))
    box = ImageFilter.BoxBlur(max(round(radius * len(alpha)), 1))
    return np.asarray(image.filter(box).filter(box), np.float64) / 255


def _shift(field: np.ndarray, right: int, down: int) -> np.ndarray:
    reach, size = max(abs(right), abs(down)), len(field)
    padded = np.pad(field, reach, mode='edge')
    return padded[reach - down : reach - down + size, reach - right : reach - right + size]


# Shapes


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


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.clip(2.5 * (np.cos(11 * u) * np.cos(11 * v) - 0.3), -0.3, 1)


#: By class: rings, checks, stripes, dots, spokes, chevrons; mean hues are evenly spaced.
#: At 128 pixels a ring's band is two to four cells of the finest CAM wide.
SHAPES = {
    'disc': Shape(_polygon(1.0, count=64), [], lambda u, v: _wave(3.2 * np.hypot(u, v)), 3 / 6),
    'square': Shape(_polygon(1.0, count=4), [], lambda u, v: _wave(1.6 * (u + v)) * _wave(1.6 * (u - v)), 1 / 6),
    'triangle': Shape(_polygon(1.0, count=3), [], lambda u, v: _wave(3.4 * v), 2 / 6),
    'star': Shape(_polygon(1.0, 0.6, count=5), [], _dots, 0 / 6),
    'ring': Shape(
        _polygon(1.0, count=64), _polygon(0.4, count=48), lambda u, v: _wave(7 * np.arctan2(v, u) / math.pi), 4 / 6
    ),
    'cross': Shape(_plus(0.36), [], lambda u, v: _wave(3.0 * (np.abs(u) - np.abs(v))), 5 / 6),
}
