"""Properties that all functions of an image and maps share: refiners, the CRF, the filter, the energy's gradient."""

import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import dense_crf, pamr, par
from afa_mmseg.functional.dense_energy import dense_energy_loss
from afa_mmseg.functional.permutohedral import bilateral_filter
from tests.functional.inputs import VARIANTS, smooth_image


def energy_gradient(image, maps):
    """Compute the gradient of the energy loss, a third of the pixels undecided, for each image alone."""
    logits = maps.detach().requires_grad_()
    label = (torch.arange(maps[0, 0].numel()) % 3 == 0).view(maps.shape[2:]) * 255
    loss = dense_energy_loss(logits, image, label.expand(len(maps), -1, -1), weight=len(maps))
    assert loss.dtype == torch.float32
    return torch.autograd.grad(loss, logits)[0]


FUNCTIONS = dict(
    par=lambda image, maps: par(image, maps, (1, 2), 3),
    pamr=lambda image, maps: pamr(image, maps, (1, 2), 3),
    dense_crf=lambda image, maps: dense_crf(image, maps, 5),
    bilateral_filter=lambda image, maps: bilateral_filter(image, maps, 15, 50),
    energy_gradient=energy_gradient,
)
every_function = pytest.mark.parametrize('function', FUNCTIONS.values(), ids=FUNCTIONS)


@pytest.fixture
def image():
    return smooth_image(3, 12, 16).round()


@pytest.fixture
def maps():
    return torch.rand(3, 5, 12, 16).half().float()


@every_function
def test_permuting_classes_permutes_the_output(function, image, maps):
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_close(function(image, maps[:, order]), function(image, maps)[:, order], rtol=1e-4, atol=1e-6)


@every_function
def test_a_batch_equals_its_images(function, image, maps):
    alone = torch.cat([function(image[i : i + 1], maps[i : i + 1]) for i in range(3)])
    assert_close(function(image, maps), alone, rtol=1e-4, atol=1e-6)


@every_function
def test_equal_inputs_give_equal_outputs_and_stay_as_they_are(function, image, maps):
    kept = image.clone(), maps.clone()
    assert torch.equal(function(image, maps), function(image, maps))
    assert torch.equal(image, kept[0])
    assert torch.equal(maps, kept[1])


@every_function
@pytest.mark.parametrize('variant', VARIANTS.values(), ids=VARIANTS)
def test_types_and_layouts_change_no_number(function, variant, image, maps):
    """Half precision is computed in float32, and bytes are pixel values."""
    image, maps = image[:1], maps[:1]
    changed = variant(image, maps)
    out = function(*changed)
    assert out.dtype == changed[1].dtype
    assert_close(out, function(image, maps).to(out.dtype), rtol=1e-5, atol=1e-7)
