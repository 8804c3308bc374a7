import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from afa_mmseg.functional.crf import dense_crf
from afa_mmseg.functional.permutohedral import bilateral_features, permutohedral_filter, spatial_features
from tests.functional.inputs import smooth_image


def random_inputs(batch=2, classes=4, height=12, width=16):
    """Make images, and class probabilities that are far from certain."""
    return smooth_image(batch, height, width), torch.randn(batch, classes, height, width).softmax(1)


@pytest.mark.parametrize(('size', 'stride', 'stride_it1'), [('120x160', 4, 8), ('375x500', 16, 16)])
def test_dense_crf_equals_the_reference(golden, size, stride, stride_it1):
    data = golden(f'dcrf_{size}')
    image = data['image'][None]
    logits = F.interpolate(data['logit'].float(), image.shape[-2:], mode='bilinear', align_corners=False)
    out = dense_crf(image, logits.softmax(1))[0]
    assert (out.argmax(0) == data['argmax']).float().mean() > 0.999
    difference = (out[:, ::stride, ::stride] - data[f'q_stride{stride}']).abs()  # kept in half precision
    assert difference.mean() < 1e-4
    assert difference.max() < 1e-3
    once = dense_crf(image, logits.softmax(1), 1)[0, :, ::stride_it1, ::stride_it1]
    assert_close(once, data[f'q_it1_stride{stride_it1}'].float(), rtol=0, atol=3e-4)


def plain_crf(image, prob, num_iters, gaussian_sxy, gaussian_weight, bilateral_sxy, bilateral_srgb, bilateral_weight):
    """Mean field with both kernels as tables of all pairs, in float64."""
    size = image.shape[2] * image.shape[3]
    spaces = [
        (gaussian_weight, spatial_features(image, gaussian_sxy)),
        (bilateral_weight, bilateral_features(image, bilateral_srgb, bilateral_sxy)),
    ]
    pairwise = torch.zeros(size, size, dtype=torch.double)
    for weight, features in spaces:
        kernel = permutohedral_filter(features, torch.eye(size)[None])[0].double()
        norm = kernel.sum(1).rsqrt()
        pairwise += weight * norm[:, None] * kernel * norm
    unary = prob[0].flatten(1).T.double().log()
    belief = unary.softmax(1)
    for _ in range(num_iters):
        belief = (unary + pairwise @ belief).softmax(1)
    return belief.T.view(prob.shape).float()


@pytest.mark.parametrize('num_iters', [0, 1, 5])
@pytest.mark.parametrize(
    'settings',
    [(3.0, 3.0, 64.0, 5.0, 4.0), (1.0, 5.0, 8.0, 40.0, 10.0), (2.0, 0.0, 9.0, 9.0, 1.0), (2.0, 0.0, 9.0, 9.0, 0.0)],
)
def test_dense_crf_equals_its_plain_formulation(num_iters, settings):
    image, prob = random_inputs(batch=1)
    names = ['gaussian_sxy', 'gaussian_weight', 'bilateral_sxy', 'bilateral_srgb', 'bilateral_weight']
    out = dense_crf(image, prob, num_iters, **dict(zip(names, settings)))
    assert_close(out, plain_crf(image, prob, num_iters, *settings), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('size', [(1, 1), (6, 7)])
def test_pixels_that_see_only_themselves_agree_with_themselves(size):
    image, prob = random_inputs(height=size[0], width=size[1])
    out = dense_crf(image, prob, 5, gaussian_sxy=1e-3, bilateral_sxy=1e-3, bilateral_srgb=1e-3)
    belief = prob
    for _ in range(5):
        belief = (prob.log() + 7 * belief).softmax(1)
    assert_close(out, belief, rtol=1e-4, atol=1e-6)


def test_no_iterations_return_the_clipped_input():
    prob = torch.tensor([[1.0, 0.0, 0.0], [2.0, 1.0, 1.0], [0.0, 0.0, 0.0]]).T.view(1, 3, 1, 3)
    out = dense_crf(torch.zeros(1, 3, 1, 3), prob, 0)[0, :, 0].T
    clipped = torch.tensor([[1, 1e-5, 1e-5], [0.5, 0.25, 0.25], [1e-5, 1e-5, 1e-5]])
    assert_close(out, clipped / clipped.sum(1, keepdim=True))


def test_the_scale_of_the_input_does_not_count():
    image, prob = random_inputs()
    assert_close(dense_crf(image, 5 * prob), dense_crf(image, prob), rtol=1e-3, atol=1e-6)


def test_the_bilateral_kernel_moves_labels_onto_a_colour_edge():
    columns = torch.arange(32).expand(24, 32)
    image = torch.where(columns < 20, 40, 200).expand(1, 3, 24, 32).clone()
    score = torch.where(columns < 16, -1.0, 1.0) + 1.2 * torch.randn(24, 32)  # noisy, and the boundary is elsewhere
    right = score.sigmoid()[None, None]
    prob, expected = torch.cat([1 - right, right], dim=1), (columns >= 20).long()[None]
    assert (prob.argmax(1) == expected).float().mean() < 0.8
    assert (dense_crf(image, prob).argmax(1) == expected).float().mean() > 0.99
    blind = dense_crf(image, prob, bilateral_weight=0.0).argmax(1)
    assert (blind[..., 16:20] != expected[..., 16:20]).float().mean() > 0.7


def test_one_class_is_certain():
    image, prob = random_inputs(classes=1)
    assert_close(dense_crf(image, prob), torch.ones_like(prob))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(prob=torch.rand(1, 2, 4, 5)), r'\(1, 3, 4, 6\), \(1, 2, 4, 5\)'),
        (dict(num_iters=-1), 'num_iters=-1'),
        (dict(prob=torch.full((1, 2, 4, 6), math.nan)), 'prob holds NaN'),
        (dict(prob=torch.full((1, 2, 4, 6), math.inf)), 'prob holds NaN or infinity'),
        (dict(image=torch.full((1, 3, 4, 6), math.nan)), 'hold NaN.*bad pixels'),
        *(({name: 0.0}, f'{name}=0.0') for name in ('gaussian_sxy', 'bilateral_sxy', 'bilateral_srgb')),
    ],
)
def test_bad_input_is_named(changes, message):
    inputs = dict(image=torch.rand(1, 3, 4, 6), prob=torch.rand(1, 2, 4, 6))
    with pytest.raises(ValueError, match=message):
        dense_crf(**{**inputs, **changes})
