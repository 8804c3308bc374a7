"""Sampler and seeding: random numbers depend on seed and position only, not on worker processes or earlier draws."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Optional

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS

#: Purposes of seeds, each with random numbers of its own.
IMAGE, ITERATION = range(2)


class SeededIndex(int):
    """Index of a sample, with the seed of its augmentation."""

    seed: tuple[int, ...]

    def __new__(cls, index: int, *seed: int) -> 'SeededIndex':
        made = super().__new__(cls, index)
        made.seed = seed
        return made

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), *self.seed)


@DATA_SAMPLERS.register_module()
class SequenceSampler(InfiniteSampler):
    """mmengine's `InfiniteSampler` that seeds the augmentation of each image by its position in the sequence.

    The order is that of `InfiniteSampler`. What the transforms draw for an image depends on the seed and on its
    position in the sequence, which is distributed over the ranks; not on the number of worker processes, on earlier
    draws, or on where a resumed run starts. The global generators
    of Python, NumPy and PyTorch are restored after each batch.

    Args:
        dataset: Gets a `__getitems__` that seeds each sample (a protocol of PyTorch's `DataLoader`).
        shuffle: Shuffle each round through the data set anew.
        seed: Of order and augmentation, the same on all ranks.
    """

    def __init__(self, dataset: Any, shuffle: bool = True, seed: Optional[int] = None) -> None:
        super().__init__(dataset, shuffle, seed)
        self.start = 0
        dataset.__getitems__ = partial(fetch_samples, dataset)

    def start_at(self, position: int) -> None:
        """Start later in the sequence.

        Args:
            position: Number of images that all ranks together have used.
        """
        self.start = position

    def skip(self, num_samples: int) -> None:
        """Start later in the sequence; mmengine's training loop calls this with the number of images per rank."""
        self.start_at(num_samples * self.world_size)

    def __iter__(self) -> Iterator[int]:
        places = islice(enumerate(self._infinite_indices()), self.start + self.rank, None, self.world_size)
        for position, index in places:
            yield SeededIndex(index, IMAGE, self.seed, position)


def fetch_samples(dataset: Any, indices: Sequence[int]) -> list:
    """Fetch the samples of a batch, each seeded by its position; restore the global generators."""
    with own_randomness():
        return [_fetch(dataset, index) for index in indices]


@contextmanager
def own_randomness(seed: Optional[int] = None) -> Iterator[None]:
    """Restore the random generators of the CPU after a `with` block; `seed` is that of the block, if it has one."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def _fetch(dataset: Any, index: int) -> Any:
    if isinstance(index, SeededIndex):
        torch.default_generator.manual_seed(_seed_numpy_and_python(*index.seed))
    return dataset[index]


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seed all generators of a rank, those of its GPUs included, for one training iteration.

    Dropout and drop path then depend on seed, rank and iteration only, as exact resume requires.
    """
    torch.manual_seed(_seed_numpy_and_python(ITERATION, seed, rank, iteration))


def _seed_numpy_and_python(*key: int) -> int:
    """Seed the generators of NumPy and Python; return a seed for PyTorch's."""
    words = np.random.SeedSequence(key).generate_state(8)
    np.random.seed(words[:4])  # noqa: NPY002
    low, high, more, most = (int(word) for word in words[4:])
    random.seed(low | high << 32)
    return more | most << 32
