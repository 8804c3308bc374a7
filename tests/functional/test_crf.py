import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from afa_mmseg.functional.crf import PairwiseKernel, dense_crf
from afa_mmseg.functional.permutohedral import bilateral_features, permutohedral_filter, spatial_features


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def random_inputs(batch=2, classes=4, height=12, width=16):
    """An image whose neighbours are alike, and class probabilities that are far from certain."""
    image = 255 * F.interpolate(torch.rand(batch, 3, 4, 4), (height, width), mode='bilinear')
    return image, torch.randn(batch, classes, height, width).softmax(1)


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
    'settings', [(3.0, 3.0, 64.0, 5.0, 4.0), (1.0, 5.0, 8.0, 40.0, 10.0), (2.0, 0.0, 9.0, 9.0, 1.0)]
)
def test_dense_crf_equals_its_plain_formulation(num_iters, settings):
    image, prob = random_inputs(batch=1)
    names = ['gaussian_sxy', 'gaussian_weight', 'bilateral_sxy', 'bilateral_srgb', 'bilateral_weight']
    out = dense_crf(image, prob, num_iters, **dict(zip(names, settings)))
    assert_close(out, plain_crf(image, prob, num_iters, *settings), rtol=1e-3, atol=1e-5)


def settle(log_prob, num_iters, weight=7.0):
    """What becomes of pixels that see only themselves, or only their own kind."""
    belief = log_prob.softmax(1)
    for _ in range(num_iters):
        belief = (log_prob + weight * belief).softmax(1)
    return belief


def test_one_pixel_agrees_with_itself():
    image, prob = random_inputs(height=1, width=1)
    assert_close(dense_crf(image, prob, 5), settle(prob.log(), 5), rtol=1e-4, atol=1e-6)


def test_tiny_sigmas_leave_pixels_alone():
    image, prob = torch.randint(256, (2, 3, 6, 7)), random_inputs(height=6, width=7)[1]
    out = dense_crf(image, prob, 5, gaussian_sxy=1e-3, bilateral_sxy=1e-3, bilateral_srgb=1e-3)
    assert_close(out, settle(prob.log(), 5), rtol=1e-4, atol=1e-6)


def test_huge_sigmas_see_the_mean_of_all_pixels():
    image, prob = random_inputs()
    out = dense_crf(image, prob, 3, gaussian_sxy=1e7, bilateral_sxy=1e7, bilateral_srgb=1e7)
    belief = prob
    for _ in range(3):
        belief = (prob.log() + 7 * belief.mean((2, 3), keepdim=True)).softmax(1)
    assert_close(out, belief, rtol=1e-3, atol=1e-5)


def test_far_from_the_border_a_constant_sees_only_itself():
    prob = torch.tensor([0.5, 0.3, 0.2]).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    inner = dense_crf(torch.full((1, 3, 40, 40), 90), prob, 1, bilateral_weight=0.0)[..., 15:25, 15:25]
    assert_close(inner, settle(prob.log(), 1, 3.0)[..., 15:25, 15:25], rtol=2e-2, atol=0)


def test_a_constant_image_is_cleaned_by_position_alone():
    prob = torch.where(torch.rand(1, 1, 24, 24) > 0.3, 0.7, 0.3)  # seven in ten pixels speak for class 0
    out = dense_crf(torch.full((1, 3, 24, 24), 90), torch.cat([prob, 1 - prob], dim=1))
    assert (out.argmax(1) == 0).all()


def test_no_iterations_return_the_clipped_input():
    prob = torch.tensor([[1.0, 0.0, 0.0], [2.0, 1.0, 1.0], [0.0, 0.0, 0.0]]).T.view(1, 3, 1, 3)
    out = dense_crf(torch.zeros(1, 3, 1, 3), prob, 0)[0, :, 0].T
    clipped = torch.tensor([[1, 1e-5, 1e-5], [0.5, 0.25, 0.25], [1e-5, 1e-5, 1e-5]])
    assert_close(out, clipped / clipped.sum(1, keepdim=True))


def test_without_weights_the_input_remains():
    image, prob = random_inputs()
    assert_close(dense_crf(image, prob, 10, gaussian_weight=0.0, bilateral_weight=0.0), prob)


@pytest.mark.parametrize('num_iters', [0, 1, 10])
def test_the_output_is_a_probability(num_iters):
    out = dense_crf(*random_inputs(), num_iters)
    assert_close(out.sum(1), torch.ones(2, 12, 16))
    assert (out >= 0).all()


def test_the_scale_of_the_input_does_not_count():
    image, prob = random_inputs()
    assert_close(dense_crf(image, 5 * prob), dense_crf(image, prob), rtol=1e-3, atol=1e-6)


def test_the_kernel_is_normalised_on_both_sides():
    features, values = torch.randn(1, 80, 3), torch.rand(1, 80, 2)
    table = permutohedral_filter(features, torch.eye(80)[None])[0]
    norm = table.sum(1).rsqrt()
    expected = 2.5 * norm[:, None] * (table @ (norm[:, None] * values[0]))
    assert_close(PairwiseKernel(features, 2.5)(values[0]), expected, rtol=1e-4, atol=0)


def two_regions(height=24, width=32):
    """Dark left of column 20 and bright right of it, under a noisy guess that puts the boundary at column 16."""
    columns = torch.arange(width).expand(height, width)
    image = torch.where(columns < 20, 40, 200).expand(1, 3, height, width).clone()
    score = torch.where(columns < 16, -1.0, 1.0) + 1.2 * torch.randn(height, width)
    right = score.sigmoid()[None, None]
    return image, torch.cat([1 - right, right], dim=1), (columns >= 20).long()[None]


def test_labels_follow_a_colour_edge():
    image, prob, expected = two_regions()
    assert (prob.argmax(1) == expected).float().mean() < 0.8
    assert (dense_crf(image, prob).argmax(1) == expected).float().mean() > 0.99


def test_the_bilateral_kernel_is_what_finds_the_edge():
    image, prob, expected = two_regions()
    blind = dense_crf(image, prob, bilateral_weight=0.0).argmax(1)
    assert (blind[..., 16:20] != expected[..., 16:20]).float().mean() > 0.7


def test_permuting_classes_permutes_the_output():
    image, prob = random_inputs(classes=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_close(dense_crf(image, prob[:, order]), dense_crf(image, prob)[:, order], rtol=1e-4, atol=1e-6)


def test_a_batch_equals_its_images():
    image, prob = random_inputs(batch=3)
    alone = torch.cat([dense_crf(image[i : i + 1], prob[i : i + 1]) for i in range(3)])
    assert_close(dense_crf(image, prob), alone, rtol=1e-4, atol=1e-6)


def test_equal_inputs_have_equal_outputs_and_stay_as_they_are():
    image, prob = random_inputs()
    kept = image.clone(), prob.clone()
    assert torch.equal(dense_crf(image, prob), dense_crf(image, prob))
    assert torch.equal(image, kept[0])
    assert torch.equal(prob, kept[1])


def test_one_class_is_certain():
    image, prob = random_inputs(classes=1)
    assert_close(dense_crf(image, prob), torch.ones_like(prob))


def test_bytes_serve_as_pixels():
    image, prob = random_inputs()
    assert torch.equal(dense_crf(image.byte(), prob), dense_crf(image.byte().float(), prob))


def test_half_precision_is_computed_in_single():
    image, prob = random_inputs()
    image, prob = image.round().half(), prob.half()
    out = dense_crf(image, prob)
    assert out.dtype == torch.half
    assert torch.equal(out, dense_crf(image.float(), prob.float()).half())


def test_inputs_need_not_be_contiguous():
    image, prob = random_inputs()
    strided = [x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) for x in (image, prob)]
    assert not any(x.is_contiguous() for x in strided)
    assert_close(dense_crf(*strided), dense_crf(image, prob), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(image=torch.rand(1, 1, 4, 6)), r'image must be \(B, 3, H, W\).*\(1, 1, 4, 6\)'),
        (dict(image=torch.rand(3, 4, 6)), r'image must be \(B, 3, H, W\).*\(3, 4, 6\)'),
        (dict(prob=torch.rand(2, 4, 6)), r'maps \(B, C, H, W\).*\(2, 4, 6\)'),
        (dict(prob=torch.rand(2, 2, 4, 6)), 'differ in batch size'),
        (dict(prob=torch.rand(1, 2, 4, 5)), r'height or width: \(1, 3, 4, 6\), \(1, 2, 4, 5\)'),
        (dict(image=torch.rand(1, 3, 0, 6), prob=torch.rand(1, 2, 0, 6)), 'empty'),
        (dict(num_iters=-1), 'num_iters=-1'),
        (dict(prob=torch.full((1, 2, 4, 6), math.nan)), 'prob holds NaN'),
        (dict(prob=torch.full((1, 2, 4, 6), math.inf)), 'prob holds NaN or infinity'),
        (dict(image=torch.full((1, 3, 4, 6), math.nan)), 'hold NaN.*bad pixels'),
        (dict(gaussian_sxy=0.0), 'sxy=0.0|sigma_xy=0.0|sigma of 0'),
        (dict(gaussian_sxy=-1.0), '(gaussian_sxy|sigma_xy)=-1.0'),
        (dict(bilateral_sxy=0.0), '=0.0 must be positive'),
        (dict(bilateral_srgb=-1.0), '=-1.0 .*must be positive'),
    ],
)
def test_bad_input_is_named(changes, message):
    inputs = dict(image=torch.rand(1, 3, 4, 6), prob=torch.rand(1, 2, 4, 6))
    with pytest.raises(ValueError, match=message):
        dense_crf(**{**inputs, **changes})
