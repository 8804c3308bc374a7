"""The two ways to diffuse compute the same numbers, whatever the sizes; gradients and compilers have their way."""

import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import diffusion, par
from afa_mmseg.functional.diffusion import diffuse, diffuse_by_matrix, diffuse_by_views


def draw(batch, channels, height, width, dilations, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(batch, 8 * len(dilations), height, width, generator=generator, dtype=dtype)
    cam = torch.randn(batch, channels, height, width, generator=generator, dtype=dtype)
    return cam, weights / weights.sum(dim=1, keepdim=True), dilations


@pytest.mark.parametrize('channels', [1, 6, 8, 9])
@pytest.mark.parametrize(('height', 'width'), [(20, 31), (64, 16), (65, 7), (150, 5), (1, 9), (9, 1), (1, 1)])
def test_matrix_equals_views(channels, height, width):
    cam, weights, dilations = draw(2, channels, height, width, (1, 3, 24))
    expected = diffuse_by_views(cam, weights, dilations, 3)
    assert_close(diffuse_by_matrix(cam, weights, dilations, 3), expected, rtol=1e-5, atol=1e-6)


def test_layout_of_the_weights_is_free():
    cam, weights, dilations = draw(1, 3, 20, 31, (1, 2), torch.float64)
    side_by_side = weights.contiguous(memory_format=torch.channels_last)
    for way in (diffuse_by_views, diffuse_by_matrix):
        assert_close(way(cam, side_by_side, dilations, 2), way(cam, weights, dilations, 2), rtol=1e-12, atol=1e-12)


def test_no_step_changes_nothing():
    cam, weights, dilations = draw(1, 3, 20, 31, (1, 2))
    assert_close(diffuse_by_matrix(cam, weights, dilations, 0), cam, rtol=0, atol=0)


def test_mixed_precision_leaves_it_alone():
    cam, weights, dilations = draw(1, 3, 20, 31, (1, 2))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = diffuse(cam, weights, dilations, 2)
    assert_close(out, diffuse(cam, weights, dilations, 2), rtol=0, atol=0)


def test_gradients_reach_the_cam():
    cam, weights, dilations = draw(1, 2, 5, 6, (1, 2), torch.float64)
    assert torch.autograd.gradcheck(lambda x: diffuse(x, weights, dilations, 2), cam.requires_grad_())


def test_without_mkl_views_do_it(monkeypatch):
    cam, weights, dilations = draw(1, 3, 20, 31, (1, 2))
    expected = diffuse_by_views(cam, weights, dilations, 2)
    monkeypatch.setattr(diffusion, 'diffuse_by_matrix', None)
    monkeypatch.setattr(torch.backends.mkl, 'is_available', lambda: False)
    assert_close(diffuse(cam, weights, dilations, 2), expected, rtol=0, atol=0)


def test_par_compiles_whole():
    image, cam = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24)
    compiled = torch.compile(par, backend='aot_eager', fullgraph=True)
    assert_close(compiled(image, cam, (1, 2), 3), par(image, cam, (1, 2), 3), rtol=1e-5, atol=1e-6)
