"""State dicts to convert."""

from pathlib import Path

import torch

from afa_mmseg.models import AttnMixVisionTransformer

WETR = Path(__file__).parents[2] / 'data/tiny/wetr_tiny.pth'
TINY = dict(embed_dims=8, num_layers=(2, 2, 2, 2))


def afa_state():
    """AFA's tiny network, 21 classes."""
    return torch.load(WETR, weights_only=True)


def nvlabs_state():
    """Its encoder as NVlabs publishes encoders: with a classifier of ImageNet's 1000 classes."""
    encoder = {key[len('encoder.') :]: value for key, value in starting_with('encoder.', afa_state()).items()}
    return {**encoder, 'head.weight': torch.randn(1000, 64), 'head.bias': torch.randn(1000)}


def backbone_state(**arch):
    """Our own backbone with random weights."""
    return AttnMixVisionTransformer({**TINY, **arch}).state_dict()


def with_prefix(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def starting_with(prefix, state):
    return {key: value for key, value in state.items() if key.startswith(prefix)}


def assert_same(state, expected):
    """The same names, types and bits."""
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert state[key].dtype == value.dtype, key
        assert torch.equal(state[key], value), key
