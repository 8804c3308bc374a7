"""Walking by bands computes the numbers of the walk over all pairs."""

import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional.affinity import radius_mask, random_walk, transition_matrix
from afa_mmseg.functional.near_walk import AffinityFactors, bands_pay, walk_by_bands


def draw(height, width, channels=4):
    generator = torch.Generator().manual_seed(height * width)
    query, key = torch.randn(2, 2, height * width, 6, generator=generator)
    scores = torch.rand(2, channels, height, width, generator=generator)
    return scores, AffinityFactors(query, key, torch.tensor([0.3]))


@pytest.mark.parametrize('radius', [0, 1, 3, 8])
@pytest.mark.parametrize(('height', 'width'), [(1, 1), (1, 7), (7, 1), (2, 5), (5, 4), (9, 13), (24, 10)])
def test_bands_equal_the_walk_over_all_pairs(height, width, radius):
    scores, affinity = draw(height, width)
    expected = random_walk(scores, transition_matrix(affinity.dense(), radius_mask(height, width, radius)))
    assert_close(walk_by_bands(scores, affinity, radius), expected, rtol=1e-5, atol=1e-6)


def test_a_walk_ends_at_the_radius():
    _, affinity = draw(20, 6)
    scores = torch.zeros(2, 1, 20, 6)
    scores[:, :, 10, 3] = 1
    reached = walk_by_bands(scores, affinity, 2)[0, 0].nonzero()
    assert reached.amin(0).tolist() == [8, 1]
    assert reached.amax(0).tolist() == [12, 5]


def test_inputs_are_left_alone():
    scores, affinity = draw(9, 5)
    before = [x.clone() for x in (scores, affinity.query, affinity.key, affinity.bias)]
    walk_by_bands(scores, affinity, 2)
    for x, y in zip((scores, affinity.query, affinity.key, affinity.bias), before):
        assert_close(x, y, rtol=0, atol=0)


def test_an_index_selects_images():
    scores, affinity = draw(9, 5)
    assert len(affinity[1:]) == 1
    assert_close(affinity[1:].dense(), affinity.dense()[1:], rtol=1e-6, atol=1e-6)
    expected = walk_by_bands(scores, affinity, 3)[1:]
    assert_close(walk_by_bands(scores[1:], affinity[1:], 3), expected, rtol=1e-6, atol=1e-6)


def test_factors_in_half_precision_are_brought_to_float32():
    scores, affinity = draw(9, 5)
    half = AffinityFactors(affinity.query.bfloat16(), affinity.key.bfloat16(), affinity.bias)
    walked = walk_by_bands(scores, half.float(), 3)
    assert walked.dtype == torch.float32
    assert_close(walked, walk_by_bands(scores, affinity, 3), rtol=0, atol=0.05)


def test_bands_are_for_high_grids_on_cpus():
    cpu = torch.device('cpu')
    assert bands_pay((48, 10), 8, cpu)
    assert bands_pay((24, 10), 8, cpu)
    assert not bands_pay((23, 48), 8, cpu)
    assert not bands_pay((48, 48), 8, torch.device('cuda'))
