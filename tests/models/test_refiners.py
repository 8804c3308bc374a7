import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.functional import dense_crf
from afa_mmseg.functional.pseudo_label import ScoreStack, cam_scores, fused_labels
from afa_mmseg.models import NoRefinement


@pytest.fixture
def scene():
    """An image of two colours, and scores that change beside the edge between them."""
    torch.manual_seed(0)
    image = torch.full((1, 3, 48, 48), 0.2)
    image[..., 24:] = 0.8
    scores = torch.full((1, 2, 48, 48), 0.3)
    scores[:, 0, :, :28] = 0.7
    scores[:, 1, :, 28:] = 0.7
    return image, scores


@pytest.mark.parametrize('name', ['PAR', 'PAMR', 'DenseCRF'])
def test_a_refiner_moves_boundaries_onto_colour_edges(scene, name):
    image, scores = scene
    label = MODELS.build(dict(type=name))(image, scores).argmax(dim=1)
    expected = (torch.arange(48) >= 24).long().expand(1, 48, 48)
    before = (scores.argmax(dim=1) == expected).float().mean()
    assert (label == expected).float().mean() > before


def test_the_crf_finds_the_edge_exactly(scene):
    image, scores = scene
    label = MODELS.build(dict(type='DenseCRF'))(image, scores).argmax(dim=1)
    assert torch.equal(label, (torch.arange(48) >= 24).long().expand(1, 48, 48))


def test_the_crf_refiner_receives_pixel_values_and_its_settings(scene):
    image, scores = scene
    refiner = MODELS.build(dict(type='DenseCRF', num_iters=2, bilateral_srgb=13.0, gaussian_weight=1.0))
    expected = dense_crf(image * 255, scores, 2, bilateral_srgb=13.0, gaussian_weight=1.0)
    assert_close(refiner(image, scores), expected)
    assert 'num_iters=2' in repr(refiner)
    assert 'bilateral_srgb=13.0' in repr(refiner)


class Recorded(NoRefinement):
    """Remembers what it was given."""

    def __init__(self, couples_classes):
        super().__init__()
        self.couples_classes = couples_classes
        self.given = []

    def forward(self, image, cam):
        self.given.append(cam)
        return super().forward(image, cam)


@pytest.mark.parametrize('propagated', [False, True])
def test_where_classes_compete_the_two_backgrounds_are_refined_apart(scene, propagated):
    image, _ = scene
    torch.manual_seed(1)
    cam, gt_label = torch.rand(1, 3, 48, 48), torch.tensor([[1.0, 0.0, 1.0]])
    low, high = torch.rand(2, 1, 4, 48, 48)
    together, apart = Recorded(False), Recorded(True)
    stack = ScoreStack(torch.cat([low, high], dim=1)) if propagated else cam_scores(cam, gt_label)
    labels = [fused_labels(refiner, image, [stack])[0] for refiner in (together, apart)]
    assert torch.equal(*labels)
    assert [x.shape[1] for x in together.given] == [8]
    assert [x.shape[1] for x in apart.given] == [4, 4]
    assert torch.equal(torch.cat(apart.given, dim=1), together.given[0])


@pytest.mark.parametrize('name', ['PAR', 'PAMR', 'DenseCRF'])
def test_a_negative_number_of_iterations_is_an_error(name):
    with pytest.raises(ValueError, match='num_iters=-3'):
        MODELS.build(dict(type=name, num_iters=-3))
