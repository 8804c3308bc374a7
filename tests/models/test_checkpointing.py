"""`with_cp`: less memory for the same losses and gradients."""

import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from tests.reference_network import at_iteration, make_sample, tiny_config

#: In the first, second and third phase.
PHASES = (2, 3, 7)


def build(with_cp, blocks=2):
    """Build the tiny segmentor with as much chance in its passes as a real one has."""
    torch.manual_seed(0)
    config = tiny_config()
    config['backbone'].update(with_cp=with_cp, drop_path_rate=0.4, arch=dict(embed_dims=8, num_layers=(blocks,) * 4))
    config['decode_head']['dropout_ratio'] = 0.1
    return MODELS.build(config).train()


@pytest.fixture
def batch():
    return dict(inputs=torch.randn(2, 3, 64, 64), data_samples=[make_sample([1]), make_sample([2, 3])])


def step(segmentor, batch, iteration, seed=3):
    """One forward and backward pass: losses, gradients by name, and the next random numbers."""
    at_iteration(iteration)
    torch.manual_seed(seed)
    losses = segmentor.loss(**batch)
    segmentor.parse_losses(losses)[0].backward()
    gradients = {name: parameter.grad for name, parameter in segmentor.named_parameters()}
    return {name: loss.detach() for name, loss in losses.items()}, gradients, torch.rand(3)


@pytest.mark.parametrize(('iteration', 'amp'), [*((iteration, False) for iteration in PHASES), (7, True)])
def test_losses_gradients_and_chance_stay_the_same(batch, iteration, amp):
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        plain, checkpointed = (step(build(with_cp), batch, iteration) for with_cp in (False, True))
    for one, other in zip(plain, checkpointed):
        assert_close(other, one, rtol=0, atol=1e-6)


def test_chance_matters_here(batch):
    (one, *_), (other, *_) = (step(build(with_cp=True), batch, iteration=3, seed=seed) for seed in (3, 4))
    assert (one['loss_cls'] - other['loss_cls']).abs() > 1e-4


def bytes_for_backward(segmentor, batch, iteration):
    """Size of what the forward pass keeps for the backward pass, parameters aside."""
    known = {parameter.untyped_storage().data_ptr() for parameter in segmentor.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = (storage.nbytes(), storage)  # alive, so that no address is used twice
        return tensor

    at_iteration(iteration)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = segmentor.loss(**batch)
    segmentor.parse_losses(losses)[0].backward()
    return sum(size for size, _ in kept.values())


def test_less_is_kept_for_the_backward_pass(batch):
    kept = {cp: [bytes_for_backward(build(cp), batch, iteration) for iteration in PHASES] for cp in (False, True)}
    saved = [plain - checkpointed for plain, checkpointed in zip(kept[False], kept[True])]
    assert saved == [saved[0]] * 3  # the backbone's part, whatever head and losses keep
    assert saved[0] > 0.8 * kept[False][0]


def test_what_is_kept_grows_by_little_more_than_the_input_of_a_block(batch):
    grown = {
        with_cp: bytes_for_backward(build(with_cp, blocks=4), batch, 2) - bytes_for_backward(build(with_cp), batch, 2)
        for with_cp in (False, True)
    }
    # Two more blocks a stage: (B, N, C) each, 16, 8, 4 and 4 cells a side, 8, 16, 40 and 64 channels.
    inputs = sum(2 * 2 * cells**2 * width * 4 for cells, width in zip((16, 8, 4, 4), (8, 16, 40, 64)))
    assert inputs <= grown[True] < 1.5 * inputs
    assert grown[False] > 10 * inputs
