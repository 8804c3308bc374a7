"""Random crops of images beside the same crops of a teacher's maps; each step has its own random numbers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

#: Left, top, right and bottom, in shares of an image or in pixels.
Box = tuple[float, float, float, float]
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')


class Batch(NamedTuple):
    """Crops of one step.

    Shape:
        images (B, 3, S, S), RGB in 0..1; targets (B, K, S / 16, S / 16), whitened components.
    """

    images: Tensor
    targets: Tensor


def list_images(folders: Sequence[Path], exclude: Sequence[str] = ()) -> list[Path]:
    """List the images of folders, sorted, without those whose name (no suffix) is in `exclude`.

    Raises:
        FileNotFoundError: A folder does not exist.
        ValueError: There are no images.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f'no such folder of images: {folder}')
    names = set(exclude)
    files = [path for folder in folders for path in sorted(folder.rglob('*')) if path.suffix.lower() in SUFFIXES]
    kept = [path for path in files if path.stem not in names]
    if not kept:
        raise ValueError(f'no images in {", ".join(map(str, folders))} ({len(files)} are excluded)')
    return kept


def load_square(path: Path, size: int) -> Tensor:
    """Load an image resized to size x size, RGB in 0..1, (3, size, size)."""
    with Image.open(path) as image:
        return _tensor(image.convert('RGB').resize((size, size), Image.Resampling.BILINEAR))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class Crops(Dataset):
    """Batches of crops, indexed by training step, so that a resumed run loads the crops of an uninterrupted one.

    Args:
        images: Image files.
        maps: Maps of the teacher, (N, K, g, g).
        steps: Number of steps.
        batch_size: Crops a step.
        size: Side of the crops in pixels, a multiple of 16.
        final_size: Side in the last tenth of the steps.
        area: Smallest and largest share of an image that a crop covers.
        jitter: Largest relative change of brightness, contrast and saturation.
        crops_per_image: Crops taken from each loaded image.
        seed: Random seed.
    """

    def __init__(
        self,
        images: Sequence[Path],
        maps: np.ndarray,
        steps: int,
        batch_size: int = 32,
        size: int = 160,
        final_size: int = 224,
        area: tuple[float, float] = (0.2, 1.0),
        jitter: float = 0.4,
        crops_per_image: int = 2,
        seed: int = 0,
    ) -> None:
        self.images, self.maps, self.steps, self.batch_size = images, maps, steps, batch_size
        self.size, self.final_size, self.area, self.jitter = size, final_size, area, jitter
        self.crops_per_image, self.seed = crops_per_image, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        size = self.final_size if step >= 0.9 * self.steps else self.size
        images, targets = [], []
        for index in rng.integers(len(self.images), size=-(-self.batch_size // self.crops_per_image)):
            with Image.open(self.images[index]) as file:
                image = file.convert('RGB')
            teacher_map = torch.from_numpy(np.asarray(self.maps[index], dtype=np.float32))
            for _ in range(self.crops_per_image):
                box, mirror = self._box(rng, *image.size), bool(rng.integers(2))
                pixels = image.resize((size, size), Image.Resampling.BILINEAR, box=self._scaled(box, *image.size))
                crop, target = _tensor(pixels), sample_map(teacher_map, box, size // 16)
                images.append(jittered(crop.flip(-1) if mirror else crop, rng, self.jitter))
                targets.append(target.flip(-1) if mirror else target)
        return Batch(torch.stack(images[: self.batch_size]), torch.stack(targets[: self.batch_size]))

    def _box(self, rng: np.random.Generator, width: int, height: int) -> Box:
        """Draw a box (left, top, right, bottom) in shares of the image."""
        area, ratio = rng.uniform(*self.area), math.exp(rng.uniform(-0.288, 0.288))  # 3:4 to 4:3 in pixels
        across = min(math.sqrt(area * ratio * height / width), 1.0)
        down = min(math.sqrt(area / ratio * width / height), 1.0)
        left, top = rng.uniform(0, 1 - across), rng.uniform(0, 1 - down)
        return left, top, left + across, top + down

    @staticmethod
    def _scaled(box: Box, width: int, height: int) -> Box:
        left, top, right, bottom = box
        return left * width, top * height, min(right * width, width), min(bottom * height, height)


def sample_map(teacher_map: Tensor, box: Box, cells: int) -> Tensor:
    """Crop a map to a box given in shares of the image, bilinear at the centres of cells.

    Shape:
        teacher_map (K, g, g); output (K, cells, cells).
    """
    left, top, right, bottom = box
    centres = (torch.arange(cells) + 0.5) / cells
    x, y = 2 * (left + (right - left) * centres) - 1, 2 * (top + (bottom - top) * centres) - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1)  # (cells, cells, 2)
    return F.grid_sample(teacher_map[None], grid[None], padding_mode='border', align_corners=False)[0]


def jittered(image: Tensor, rng: np.random.Generator, amount: float) -> Tensor:
    """Change brightness, contrast and saturation of an image (3, H, W) in 0..1 by random factors."""
    brightness, contrast, saturation = (float(x) for x in rng.uniform(1 - amount, 1 + amount, size=3))
    image = image * brightness
    image = image.mean() + (image - image.mean()) * contrast
    grey = image.mean(dim=0, keepdim=True)
    return (grey + (image - grey) * saturation).clamp(0, 1)
