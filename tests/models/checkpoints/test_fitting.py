"""Weights enter a network whole, or not at all."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from afa_mmseg.models.checkpoints import load_state


class Head(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv_seg = nn.Conv2d(4, num_classes, 1)


def network(num_classes=3, width=4, depth=2):
    """A plain network with mmseg's names."""
    blocks = [nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width)) for _ in range(depth)]
    return nn.ModuleDict(dict(backbone=nn.Sequential(*blocks), decode_head=Head(num_classes)))


def check_loaded(model, state):
    load_state(model, state)
    expected = network()
    expected.load_state_dict({key.removeprefix('module.'): value for key, value in state.items()}, strict=False)
    assert_close(model.state_dict(), expected.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('other', 'words'),
    [
        (dict(num_classes=7), ['has 7 classes, the config 3 (model.decode_head.num_classes)']),
        (dict(depth=1), ["it lacks 'backbone.1.0.weight'", '(6 in all)']),
        (dict(depth=3), ["it adds 'backbone.2.0.weight'", '(7 in all)']),
        (dict(width=8), ["it reshapes 'backbone.0.0.weight'"]),
    ],
)
def test_another_network_is_refused(other, words):
    with pytest.raises(ValueError, match='use the config that it was trained with') as error:
        load_state(network(), network(**other).state_dict())
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)
    assert '\n' not in str(error.value)


def test_a_missing_backbone_is_refused():
    state = {key: value for key, value in network().state_dict().items() if 'backbone' not in key}
    with pytest.raises(ValueError, match="it lacks 'backbone.0.0.weight'"):
        load_state(network(), state)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_all_weights_are_loaded(prefix):
    state = {prefix + key: value for key, value in network().state_dict().items()}
    check_loaded(network(), state)


def test_old_counters_and_parts_that_the_network_has_nothing_of_do_not_matter():
    state = {key: value for key, value in network().state_dict().items() if 'num_batches' not in key}
    check_loaded(network(), {**state, 'auxiliary_head.conv_seg.weight': torch.zeros(3, 4, 1, 1)})


class Renamed(nn.Linear):
    """A layer whose weight had another name and form once, as some of mmcv and mmpretrain."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if f'{prefix}kernel' in state_dict:
            state_dict[f'{prefix}weight'] = state_dict.pop(f'{prefix}kernel').flatten(1)
        super()._load_from_state_dict(state_dict, prefix, *args)


def test_layers_may_know_older_names():
    model = nn.Sequential(Renamed(4, 2, bias=False))
    load_state(model, {'0.kernel': torch.arange(8.0).reshape(2, 4, 1)})
    assert model[0].weight.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(ValueError, match="it lacks '0.weight'; it adds '0.kernel'"):
        load_state(model, {'0.kernel': torch.zeros(2, 5, 1)})


def test_what_pytorch_cannot_copy_is_reported():
    model = nn.Sequential(nn.Linear(4, 2, bias=False))
    with pytest.raises(ValueError, match='the checkpoint cannot be loaded: '):
        load_state(model, {'0.weight': torch.zeros(2, 4, device='meta')})
