"""Random crops of images, half of them mixed in pairs (mixup); each step has its own random numbers."""

import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ...datasets.images import IMAGE_SUFFIXES, strip_suffix
from ..images import find_images, read_image

#: Side that images are loaded at, in pixels.
LOADED = 256
#: Share of the crops of a step that are mixed with another.
MIXED = 0.5


class Batch(NamedTuple):
    """What the crops of one step are cut from, and how.

    Args:
        images: RGB, 0..255.
        tags: 1 for each class that an image has, else 0; nan where its classes are not known.
        boxes: Left, top, right and bottom of each crop in shares of its image. A mirrored crop has left and right
            exchanged.
        colours: Factors of brightness, contrast and saturation of each crop.
        shares: Share of each crop; the rest is the crop before.

    Shape:
        images (B, 3, S, S), uint8; tags (B, classes); boxes (B, 4); colours (B, 3); shares (B,).
    """

    images: Tensor
    tags: Tensor
    boxes: Tensor
    colours: Tensor
    shares: Tensor

    def cut(self, size: int) -> tuple[Tensor, Tensor]:
        """Cut the crops, on whatever device the batch is.

        Shape:
            crops (B, 3, size, size) in 0..1, and their tags (B, classes).
        """
        crops = jittered(crop(self.images.float() / 255, self.boxes, size), self.colours)
        return mixup(crops, self.shares), mixup(self.tags, self.shares)


def list_images(folders: Sequence[Path], exclude: Iterable[str] = ()) -> list[list[Path]]:
    """List the images of each folder without excluded ones.

    Args:
        folders: Their subfolders count, too. An image that lies in several counts for the last.
        exclude: Ids: names of images in any folder, or their paths below one of `folders`; suffixes may be left out.

    Raises:
        FileNotFoundError: A folder does not exist or has no image.
        ValueError: All images are excluded.
    """
    excluded = {plain_id(img_id) for img_id in exclude}
    files = {image.path: folder for folder in folders for image in find_images([folder])}
    kept: dict[Path, list[Path]] = {folder: [] for folder in files.values()}
    roots = [Path(os.path.abspath(folder)) for folder in folders]
    for path, folder in files.items():
        below = [path.relative_to(root).as_posix() for root in roots if root in path.parents]
        if excluded.isdisjoint(map(plain_id, [path.name, *below])):
            kept[folder].append(path)
    if not any(kept.values()):
        raise ValueError(f'all {len(files)} images in {", ".join(map(str, folders))} are excluded')
    return [paths for paths in kept.values() if paths]


def plain_id(img_id: str) -> str:
    """Return an id without the suffix of an image file, in composed Unicode."""
    return unicodedata.normalize('NFC', strip_suffix(img_id, IMAGE_SUFFIXES) or img_id)


def load_square(path: Path, size: int) -> Tensor:
    """Load an image resized to size x size, RGB, uint8 (3, size, size)."""
    return squared(read_image(path), size)


def squared(image: np.ndarray, size: int) -> Tensor:
    """Resize an image to size x size: BGR (H, W, 3) to RGB (3, size, size), both uint8."""
    pixels = Image.fromarray(image[..., ::-1]).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


class Crops(Dataset):
    """Batches of crops, indexed by training step, so that a resumed run loads the crops of an uninterrupted one.

    Args:
        folders: Image files of each folder. Folders are drawn from equally often, whatever their sizes.
        tags: Classes of each image, (N, classes), in the order of all files; no column where there are none.
        steps: Number of steps.
        batch_size: Crops a step, one of each image drawn.
        area: Smallest and largest share of an image that a crop covers.
        jitter: Largest relative change of brightness, contrast and saturation.
        seed: Random seed.
    """

    def __init__(
        self,
        folders: Sequence[Sequence[Path]],
        tags: Tensor,
        steps: int,
        batch_size: int = 64,
        area: tuple[float, float] = (0.25, 1.0),
        jitter: float = 0.4,
        seed: int = 0,
    ) -> None:
        self.images = [path for folder in folders for path in folder]
        self.ends = np.cumsum([len(folder) for folder in folders])
        self.tags, self.steps, self.batch_size = tags, steps, batch_size
        self.area, self.jitter, self.seed = area, jitter, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        folder = rng.integers(len(self.ends), size=self.batch_size)
        chosen = rng.integers(np.append(0, self.ends)[folder], self.ends[folder])
        aspects, images = [], []
        for index in chosen:
            image = read_image(self.images[index])
            aspects.append(image.shape[1] / image.shape[0])
            images.append(squared(image, LOADED))
        boxes = self._boxes(rng, np.array(aspects))
        colours = rng.uniform(1 - self.jitter, 1 + self.jitter, (self.batch_size, 3))
        shares = np.where(rng.random(self.batch_size) < MIXED, rng.random(self.batch_size), 1)
        drawn = (torch.from_numpy(x.astype(np.float32)) for x in (boxes, colours, shares))
        return Batch(torch.stack(images), self.tags[chosen], *drawn)

    def _boxes(self, rng: np.random.Generator, aspect: np.ndarray) -> np.ndarray:
        """Draw a box for each crop, of 3:4 to 4:3 in pixels, half of them mirrored."""
        area = rng.uniform(*self.area, len(aspect))
        ratio = np.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3), len(aspect))) / aspect
        across, down = np.minimum(np.sqrt(area * ratio), 1), np.minimum(np.sqrt(area / ratio), 1)
        left, top = rng.uniform(0, 1 - across), rng.uniform(0, 1 - down)
        mirrored = rng.integers(2, size=len(aspect)).astype(bool)
        ends = left, left + across
        boxes = [np.where(mirrored, *ends[::-1]), top, np.where(mirrored, *ends), top + down]
        return np.stack(boxes, axis=1)


def mixup(values: Tensor, shares: Tensor) -> Tensor:
    """Mix each entry of a batch with the one before it (Zhang et al., ICLR 2018).

    An entry whose share is 1 is returned as it is, even beside NaN.

    Example:
        >>> mixup(torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([1.0, 0.5, 1.0]))
        tensor([1.0000, 1.5000,    nan])
    """
    shares = shares.view(-1, *[1] * (values.ndim - 1))
    return torch.where(shares < 1, shares * values + (1 - shares) * values.roll(1, 0), values)


def crop(source: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crop images to boxes, bilinear at the centres of pixels.

    Shape:
        source (B, C, h, w); boxes (B, 4) in shares; output (B, C, size, size).
    """
    centres = (torch.arange(size, device=source.device) + 0.5) / size
    left, top, right, bottom = (side[:, None] for side in boxes.unbind(1))
    x, y = left + (right - left) * centres, top + (bottom - top) * centres  # (B, size)
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1) * 2 - 1
    return F.grid_sample(source, grid, padding_mode='border', align_corners=False)


def jittered(image: Tensor, factors: Tensor) -> Tensor:
    """Change brightness, contrast and saturation of images (B, 3, H, W) in 0..1 by factors (B, 3)."""
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1).unbind(1)
    image = image * brightness
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    image = mean + (image - mean) * contrast
    grey = image.mean(dim=1, keepdim=True)
    return (grey + (image - grey) * saturation).clamp(0, 1)
