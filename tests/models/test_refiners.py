import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.functional import dense_crf


@pytest.fixture
def scene():
    """An image of two colours, and scores that change beside the edge between them."""
    image = torch.full((1, 3, 48, 48), 0.2)
    image[..., 24:] = 0.8
    scores = torch.full((1, 2, 48, 48), 0.3)
    scores[:, 0, :, :28] = 0.7
    scores[:, 1, :, 28:] = 0.7
    return image, scores


@pytest.mark.parametrize('name', ['PAR', 'PAMR', 'DenseCRF'])
def test_a_refiner_moves_boundaries_onto_colour_edges(scene, name):
    image, scores = scene
    refiner = MODELS.build(dict(type=name))
    assert refiner.couples_classes == (name == 'DenseCRF')
    label = refiner(image, scores).argmax(dim=1)
    expected = (torch.arange(48) >= 24).long().expand(1, 48, 48)
    before = (scores.argmax(dim=1) == expected).float().mean()
    assert (label == expected).float().mean() > before


def test_the_crf_refiner_receives_pixel_values_and_its_settings(scene):
    image, scores = scene
    refiner = MODELS.build(dict(type='DenseCRF', num_iters=2, bilateral_srgb=13.0, gaussian_weight=1.0))
    expected = dense_crf(image * 255, scores, 2, bilateral_srgb=13.0, gaussian_weight=1.0)
    assert_close(refiner(image, scores), expected)


@pytest.mark.parametrize('name', ['PAR', 'PAMR', 'DenseCRF'])
def test_a_negative_number_of_iterations_is_an_error(name):
    with pytest.raises(ValueError, match='num_iters=-3'):
        MODELS.build(dict(type=name, num_iters=-3))
