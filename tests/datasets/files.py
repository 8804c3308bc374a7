"""Writers of small real files."""

from pathlib import Path

import numpy as np
from PIL import Image

from afa_mmseg.datasets.inspection.start import fill_template


def write_image(path: Path, height: int = 40, width: int = 56, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_mask(path: Path, value: int, height: int = 40, width: int = 56) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width), np.uint8)
    pixels[10:30, 10:30] = value
    pixels[10, 10:30] = 255
    mask = Image.fromarray(pixels)
    mask.putpalette(list(range(256)) * 3)
    mask.save(path)


def write_xml(path: Path, names: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = ''.join(
        f'<object><name>{name}</name><difficult>{i % 2}</difficult><part><name>head</name></part></object>'
        for i, name in enumerate(names)
    )
    path.write_text(f'<annotation><filename>{path.stem}.jpg</filename>{objects}</annotation>')


def write_template(path: Path, **lines) -> None:
    """Write a copy of the config for one's own images, with some of its lines edited."""
    path.write_text(fill_template(**lines), encoding='utf-8')
