"""Random numbers that depend on what they are for, not on what was drawn before or on how many processes draw."""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Optional

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS

#: What seeds are for: each purpose has random numbers of its own.
PICTURE, ITERATION = range(2)


class SeededIndex(int):
    """Index of a sample that knows the seed of its augmentation."""

    seed: tuple[int, ...]

    def __new__(cls, index: int, *seed: int) -> 'SeededIndex':
        made = super().__new__(cls, index)
        made.seed = seed
        return made

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), *self.seed)


@DATA_SAMPLERS.register_module()
class SequenceSampler(InfiniteSampler):
    """mmengine's `InfiniteSampler`: the same pictures in the same order, and each augmented by its place in it.

    What the transforms draw for a picture depends on the seed and on the picture's place in the sequence, which the
    processes deal out among themselves; not on the number of worker processes, on what they drew before, or on
    where a resumed run began. Their random numbers are those of Python, NumPy and PyTorch; none of the training's
    own are used up.

    Args:
        dataset: Is told how to fetch several samples at once (`__getitems__`, a protocol of PyTorch's `DataLoader`).
        shuffle: Shuffle each round through the data set anew.
        seed: Of order and augmentation, the same in all processes.
    """

    def __init__(self, dataset: Any, shuffle: bool = True, seed: Optional[int] = None) -> None:
        super().__init__(dataset, shuffle, seed)
        self.start = 0
        dataset.__getitems__ = partial(fetch_samples, dataset)

    def start_at(self, position: int) -> None:
        """Start later in the sequence.

        Args:
            position: Pictures that all processes together have taken already.
        """
        self.start = position

    def skip(self, num_samples: int) -> None:
        """Start later in the sequence: what mmengine's own training loop calls, with pictures per process."""
        self.start_at(num_samples * self.world_size)

    def __iter__(self) -> Iterator[int]:
        places = islice(enumerate(self._infinite_indices()), self.start + self.rank, None, self.world_size)
        for position, index in places:
            yield SeededIndex(index, PICTURE, self.seed, position)


def fetch_samples(dataset: Any, indices: Sequence[int]) -> list:
    """Fetch the samples of a batch, each with the random numbers of its place; generators are left as they were."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        return [_fetch(dataset, index) for index in indices]
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        torch.set_rng_state(state[2])


def _fetch(dataset: Any, index: int) -> Any:
    if isinstance(index, SeededIndex):
        torch.default_generator.manual_seed(_seed_numpy_and_python(*index.seed))
    return dataset[index]


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seed all generators of a process, those of its GPUs too, for one iteration of training.

    Dropout and its like then depend on nothing else, whatever was drawn since the training began.
    """
    torch.manual_seed(_seed_numpy_and_python(ITERATION, seed, rank, iteration))


def _seed_numpy_and_python(*key: int) -> int:
    """Seed the generators of NumPy and Python; give a seed for PyTorch's."""
    words = np.random.SeedSequence(key).generate_state(8)
    np.random.seed(words[:4])  # noqa: NPY002
    low, high, more, most = (int(word) for word in words[4:])
    random.seed(low | high << 32)
    return more | most << 32
