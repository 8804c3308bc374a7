"""Maps of a teacher's features, computed once: whitened principal components in float16, one file for all images."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor

from .crops import load_square
from .teacher import Teacher

#: Images that principal components are computed from, and images a batch.
SAMPLE, BATCH = 1000, 32
#: File that lists what maps were made from, and how many are done.
RECORD = 'maps.json'


class TeacherMaps(NamedTuple):
    """Maps of all images, with what turns their components into logits.

    Args:
        maps: Memory-mapped float16 array of whitened components.
        spread: Standard deviation of each component before whitening.
        weight: Linear layer of the teacher on whitened components.
        bias: Its bias.

    Shape:
        maps (N, K, g, g); spread (K,); weight (classes, K); bias (classes,).
    """

    maps: np.ndarray
    spread: Tensor
    weight: Tensor
    bias: Tensor


def write_maps(
    teacher: Teacher,
    images: Sequence[Path],
    out: Path,
    *,
    size: int = 320,
    components: int = 192,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TeacherMaps:
    """Run the teacher on every image, or continue a run that was interrupted.

    Args:
        teacher: The teacher.
        images: Image files.
        out: Folder for `maps.npy`, `basis.pt` and `maps.json`, which records what they were made from.
        size: Side that images are resized to, in pixels.
        components: Principal components kept.
        progress: Called with the images done and their total.

    Raises:
        ValueError: The folder holds maps of other images or settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    made_from = dict(_identity(teacher), size=size, components=components, images=[str(path) for path in images])
    done = _maps_done(out, made_from)
    if done is None:
        sample = images[:: -(-len(images) // SAMPLE)]
        torch.save(principal_components(teacher, sample, size, components), out / 'basis.pt')
    basis = torch.load(out / 'basis.pt', weights_only=True)
    maps = _open_maps(out, (len(images), components, basis['grid'], basis['grid']), is_new=done is None)
    whiten, mean = (basis[key].to(teacher.mean.device) for key in ('whiten', 'mean'))
    for start in range(done or 0, len(images), BATCH):
        white = torch.einsum('kc,bchw->bkhw', whiten, _run(teacher, images[start : start + BATCH], size) - mean)
        maps[start : start + BATCH] = white.cpu().numpy().astype(np.float16)
        done = min(start + BATCH, len(images))
        if done == len(images) or start % (32 * BATCH) == 0:
            maps.flush()
            (out / RECORD).write_text(json.dumps(dict(made_from, done=done)), encoding='utf-8')
            progress(done, len(images))
    return TeacherMaps(maps, basis['spread'], *_head(teacher, basis))


def _identity(teacher: Teacher) -> dict[str, str]:
    """Return what distinguishes a teacher: its name and a digest of its last layer, which differs where weights do."""
    assert teacher.linear is not None
    weight = teacher.linear.weight.detach().cpu().numpy()
    return dict(teacher=teacher.name, digest=hashlib.sha256(weight.tobytes()).hexdigest()[:16])


def _maps_done(out: Path, made_from: dict) -> Optional[int]:
    """Return how many maps the folder holds, or None for a new folder; refuse maps of other images or settings."""
    if not (out / RECORD).is_file():
        return None
    found = json.loads((out / RECORD).read_text(encoding='utf-8'))
    done = int(found.pop('done'))
    if found != made_from:
        raise ValueError(f'{out} holds maps of other images or settings: name another folder, or delete it')
    return done


def principal_components(teacher: Teacher, images: Sequence[Path], size: int, components: int) -> dict:
    """Compute the whitening transform of a teacher's features from some images."""
    total = torch.zeros(teacher.num_channels, dtype=torch.float64)
    product = torch.zeros(teacher.num_channels, teacher.num_channels, dtype=torch.float64)
    count = grid = 0
    for start in range(0, len(images), BATCH):
        features = _run(teacher, images[start : start + BATCH], size)
        grid = features.shape[-1]
        cells = features.transpose(0, 1).flatten(1).T.double().cpu()  # (B h w, C)
        total, product, count = total + cells.sum(dim=0), product + cells.T @ cells, count + len(cells)
    mean = total / count
    values, vectors = torch.linalg.eigh(product / count - torch.outer(mean, mean))
    values, vectors = values.flip(0)[:components].clamp(min=1e-8), vectors.flip(1)[:, :components]
    spread = values.sqrt()
    return dict(
        mean=mean.float().view(-1, 1, 1),
        whiten=(vectors / spread).T.float(),
        restore=(vectors * spread).float(),
        spread=spread.float(),
        grid=grid,
    )


def _run(teacher: Teacher, images: Sequence[Path], size: int) -> Tensor:
    with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
        batch = torch.stack([*pool.map(load_square, images, repeat(size))])
    return teacher(batch.to(teacher.mean.device) / 255).float()


def _open_maps(out: Path, shape: tuple[int, ...], *, is_new: bool) -> np.memmap:
    return np.lib.format.open_memmap(out / 'maps.npy', mode='w+' if is_new else 'r+', dtype=np.float16, shape=shape)


def _head(teacher: Teacher, basis: dict) -> tuple[Tensor, Tensor]:
    """Return the teacher's linear layer in terms of whitened components."""
    assert teacher.linear is not None
    weight, bias = teacher.linear.weight.detach().cpu(), teacher.linear.bias.detach().cpu()
    return weight @ basis['restore'], bias + weight @ basis['mean'].flatten()
