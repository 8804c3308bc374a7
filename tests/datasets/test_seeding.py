"""The augmentation of an image depends on its position in the sequence, not on which process loads it or when."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from afa_mmseg.datasets.seeding import SeededIndex, SequenceSampler, fetch_samples, seed_iteration


class Images:
    """Samples of an index and of draws from Python, NumPy and PyTorch; the indices read are recorded."""

    def __init__(self, length=10):
        self.length = length
        self.read = []

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.read.append(int(index))
        return [int(index), random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002


def make_loader(num_workers=0, start=0, batch_size=2, seed=5, dataset=None):
    dataset = dataset or Images()
    sampler = SequenceSampler(dataset, seed=seed)
    sampler.start_at(start)
    return DataLoader(
        dataset, batch_size=batch_size, sampler=sampler, num_workers=num_workers, collate_fn=lambda batch: batch
    )


def first_samples(count, **kwargs):
    batches = iter(make_loader(**kwargs))
    samples = []
    while len(samples) < count:
        samples += next(batches)
    return samples


def global_state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.parametrize('num_workers', [1, 2, 3])
def test_worker_processes_change_nothing(num_workers):
    assert first_samples(24, num_workers=num_workers) == first_samples(24)


def test_every_position_has_random_numbers_of_its_own():
    samples = first_samples(24)
    drawn = [number for sample in samples for number in sample[1:]]
    assert len(set(drawn)) == len(drawn)  # the second and third round, too
    assert [sample[1:] for sample in first_samples(24, seed=6)] != [sample[1:] for sample in samples]


def test_the_order_is_that_of_mmengine():
    expected = iter(InfiniteSampler(Images(), seed=5))
    assert [sample[0] for sample in first_samples(24)] == [next(expected) for _ in range(24)]


@pytest.mark.parametrize('batch_size', [1, 4])
def test_a_later_start_continues_the_sequence(batch_size):
    assert first_samples(12, start=12, batch_size=batch_size) == first_samples(24)[12:]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_late_start_reads_nothing_before(num_workers):
    dataset = Images(10000)
    sample = first_samples(1, start=76000, batch_size=1, dataset=dataset, num_workers=num_workers)
    assert len(dataset.read) == (num_workers == 0)
    assert sample[0][0] != first_samples(1, batch_size=1, dataset=Images(10000))[0][0]


def test_ranks_share_the_same_sequence(monkeypatch):
    whole = first_samples(12)
    dealt = []
    for rank in range(2):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        dealt.append(first_samples(6))
        assert first_samples(4, start=4) == dealt[-1][2:]
    assert [sample for pair in zip(*dealt) for sample in pair] == whole


def test_global_generators_are_restored():
    torch.manual_seed(3), random.seed(3), np.random.seed(3)  # noqa: NPY002
    before = global_state()
    batches = iter(make_loader())
    torch.manual_seed(3)  # the loader draws a number when it begins
    first = next(batches)
    assert global_state() == before
    torch.rand(5), random.random(), np.random.rand()  # noqa: NPY002
    assert first + next(batches) == first_samples(4)


def test_global_generators_are_restored_after_an_error():
    class Broken(Images):
        def __getitem__(self, index):
            random.random(), np.random.rand(), torch.rand(())  # noqa: NPY002
            raise OSError('broken image')

    dataset = Broken()
    before = global_state()
    with pytest.raises(OSError, match='broken image'):
        fetch_samples(dataset, [0])
    assert global_state() == before


def test_an_index_is_pickled_with_its_seed():
    index = pickle.loads(pickle.dumps(SeededIndex(7, 1, 2)))
    assert (index, index.seed, 'abcdefgh'[index]) == (7, (1, 2), 'h')


def test_mmengine_builds_and_skips_it():
    config = dict(batch_size=2, dataset=Images(), sampler=dict(type='SequenceSampler'), collate_fn=pseudo_collate)
    loader = Runner.build_dataloader(config, seed=5)
    loader.sampler.skip(4)
    indices = [sample[0] for sample in first_samples(8)]
    batches = iter(loader)
    assert [*next(batches)[0], *next(batches)[0]] == indices[4:]


def test_an_iteration_has_random_numbers_of_its_own():
    def draw(*key):
        seed_iteration(*key)
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    keys = [(seed, rank, iteration) for seed in range(2) for rank in range(2) for iteration in range(3)]
    drawn = {key: draw(*key) for key in keys}
    assert len(set(drawn.values())) == len(keys)
    assert {key: draw(*key) for key in reversed(keys)} == drawn
