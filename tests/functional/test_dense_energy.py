import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from afa_mmseg.functional.dense_energy import dense_energy_loss
from afa_mmseg.functional.permutohedral import bilateral_features, permutohedral_filter
from tests.functional.inputs import relative_error, smooth_image

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
COLOURS = torch.tensor([0.0, 80.0, 160.0, 240.0])


@pytest.fixture
def reference(golden):
    """Inputs of the golden loss, the image in 0..255, and its results."""
    data = golden('rloss_96x96')
    data['image'] = data['img'] * STD + MEAN
    data['logit'] = data['logit'].float().requires_grad_()
    return data


def random_inputs(batch=2, classes=4, height=12, width=16):
    """Make logits that want a gradient, images, and labels of which a third is undecided."""
    logits = (2 * torch.randn(batch, classes, height, width)).requires_grad_()
    label = torch.randint(classes, (batch, height, width))
    return logits, smooth_image(batch, height, width), label.masked_fill(torch.rand(label.shape) < 1 / 3, 255)


def loss_and_grad(logits, *args, **kwargs):
    loss = dense_energy_loss(logits, *args, **kwargs)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def test_loss_and_gradient_equal_the_reference(reference):
    args = [reference[name] for name in ('logit', 'image', 'label', 'img_box')]
    loss, grad = loss_and_grad(*args)
    assert_close(loss, reference['loss_w1e-7'][0], rtol=1e-5, atol=0)
    assert relative_error(grad[:, reference['channels']], reference['grad_w1e-7']) < 1e-4
    loss, grad = loss_and_grad(*args, weight=1.0)
    assert_close(loss, reference['loss_w1'][0], rtol=1e-5, atol=0)
    assert_close(grad.flatten(2).norm(dim=2), reference['grad_w1_l2_per_channel'].float(), rtol=1e-4, atol=0)


def plain_energy(logits, image, label, boxes, sigma_rgb, sigma_xy):
    """The loss at half size as SPEC writes it, its gate a constant and its kernel a table of all pairs (float64)."""
    prob = F.avg_pool2d(logits.double().softmax(1), 2)
    image, label = image[..., ::2, ::2], label[..., ::2, ::2]
    inside = torch.zeros_like(prob[:, :1])
    for mask, (top, bottom, left, right) in zip(inside, boxes.tolist()):
        mask[:, (top + 1) // 2 : (bottom + 1) // 2, (left + 1) // 2 : (right + 1) // 2] = 1
    gate = torch.where(label[:, None] == 255, 1, (inside - prob.amax(1, keepdim=True)).clamp(min=0)).detach()
    features = bilateral_features(image, sigma_rgb, sigma_xy / 2)
    ones = torch.eye(features.shape[1]).expand(len(image), -1, -1)
    kernel = permutohedral_filter(features, ones).double()  # (B, N, N)
    flat = (prob * inside).flatten(2).transpose(1, 2)
    filtered = gate.flatten(2).transpose(1, 2) * (kernel @ flat)
    energy = -(flat * filtered).sum() / len(image)
    published = -2 * (flat * filtered.detach()).sum() / len(image)
    return energy.detach().float(), torch.autograd.grad(published, logits)[0]


@pytest.mark.parametrize('boxes', [[[0, 12, 0, 16], [0, 12, 0, 16]], [[2, 11, 3, 16], [0, 12, 5, 9]]])
@pytest.mark.parametrize(('sigma_rgb', 'sigma_xy'), [(15.0, 100.0), (60.0, 8.0)])
@pytest.mark.parametrize('decided', [True, False])
def test_the_loss_equals_its_plain_formulation(boxes, sigma_rgb, sigma_xy, decided):
    logits, image, label = random_inputs()
    args = logits, image, label if decided else torch.full_like(label, 255), torch.tensor(boxes)
    energy, published = plain_energy(*args, sigma_rgb, sigma_xy)
    loss, grad = loss_and_grad(*args, sigma_rgb=sigma_rgb, sigma_xy=sigma_xy, weight=1.0)
    assert_close(loss, energy, rtol=1e-5, atol=0)
    assert relative_error(grad, published) < 1e-5


def test_the_loss_by_hand():
    """Two pixels of one colour and undecided, where the kernel is a table of one number."""
    logits = torch.tensor([[1.0, 3.0], [1.0, 1.0]]).log().view(1, 2, 1, 2)  # P = (1/2, 1/2) and (3/4, 1/4)
    image, sigma = torch.full((1, 3, 1, 2), 255.0), 1e7
    kernel = permutohedral_filter(bilateral_features(image, sigma, sigma), torch.tensor([[[1.0], [0.0]]]))
    assert_close(kernel.flatten(), kernel[0, 0].expand(2), rtol=1e-5, atol=0)
    loss = dense_energy_loss(logits, image, torch.full((1, 1, 2), 255), sigma_rgb=sigma, sigma_xy=sigma, weight=0.1)
    assert_close(loss, -0.1 * (1.25**2 + 0.75**2) * kernel[0, 0, 0], rtol=1e-5, atol=0)


def numerical_gradient(function, x, step=0.1):
    """Central differences of five points: the loss is computed in float32, so the step must be wide."""
    grad = torch.zeros_like(x)
    for i in range(x.numel()):
        d = torch.zeros_like(x)
        d.view(-1)[i] = step
        near, far = function(x + d) - function(x - d), function(x + 2 * d) - function(x - 2 * d)
        grad.view(-1)[i] = (8 * near - far) / (12 * step)
    return grad


@pytest.mark.parametrize('scale_factor', [1.0, 0.5])
def test_the_gradient_equals_a_numerical_one_where_all_is_undecided(scale_factor):
    """Pixels count their own colour's alone: then the published lattice is symmetric, as its gradient assumes."""
    image = COLOURS[torch.randint(4, (2, 1, 4, 4))].expand(-1, 3, -1, -1)
    logits, label = torch.randn(2, 2, 4, 4, requires_grad=True), torch.full((2, 4, 4), 255)
    settings = dict(sigma_rgb=1.0, sigma_xy=1e6, scale_factor=scale_factor, weight=1.0)
    grad = loss_and_grad(logits, image, label, **settings)[1]
    expected = numerical_gradient(lambda x: dense_energy_loss(x, image, label, **settings), logits.detach())
    assert relative_error(grad, expected) < 1e-3


def test_the_gate_is_what_the_likeliest_class_lacks():
    logits = torch.tensor([4.0, 1.0]).log().view(1, 2, 1, 1).expand(1, 2, 6, 8)  # P = (0.8, 0.2) everywhere
    image = smooth_image(1, 6, 8)
    decided, undecided = (dense_energy_loss(logits, image, torch.full((1, 6, 8), v), weight=1.0) for v in (0, 255))
    assert_close(decided, 0.2 * undecided, rtol=1e-5, atol=0)
    assert torch.equal(undecided, dense_energy_loss(logits, image, -torch.ones(1, 6, 8), weight=1.0, ignore_index=-1))


def test_agreement_between_like_pixels_is_rewarded():
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 200
    label = torch.full((1, 8, 8), 255)
    along, across = torch.zeros(2, 1, 2, 8, 8)
    along[:, 0, :, :4] = along[:, 1, :, 4:] = 5
    across[:, 0, :4] = across[:, 1, 4:] = 5
    assert dense_energy_loss(along, image, label) < dense_energy_loss(across, image, label)


def test_no_boxes_mean_the_whole_image_and_empty_ones_cost_nothing():
    inputs = random_inputs()
    whole = torch.tensor([[0, 12, 0, 16]]).expand(2, 4)
    assert torch.equal(dense_energy_loss(*inputs), dense_energy_loss(*inputs, whole))
    loss, grad = loss_and_grad(*inputs, torch.zeros(2, 4, dtype=torch.long))
    assert loss == 0
    assert (grad == 0).all()
    half = dense_energy_loss(*inputs, torch.tensor([[0, 12, 0, 16], [5, 5, 0, 16]]))
    assert_close(half, dense_energy_loss(*(x[:1] for x in inputs)) / 2, rtol=1e-5, atol=0)


def test_the_gradient_is_scaled_by_what_comes_from_above():
    inputs = random_inputs()
    grad = loss_and_grad(*inputs, weight=1.0)[1]
    assert_close(torch.autograd.grad(7 * dense_energy_loss(*inputs, weight=1.0), inputs[0])[0], 7 * grad)


def test_one_class_is_always_certain():
    logits, image, label = random_inputs(classes=1)
    loss = dense_energy_loss(logits, image, torch.zeros_like(label), weight=1.0)
    assert_close(loss, torch.tensor(0.0), rtol=0, atol=1e-4)
    assert_close(loss_and_grad(logits, image, torch.full_like(label, 255))[1], torch.zeros_like(logits))


@pytest.mark.parametrize(
    ('size', 'scale_factor'),
    [((1, 1), 0.5), ((1, 5), 0.5), ((3, 1), 0.5), ((2, 2), 0.5), *(((n, n), 1e-4) for n in (7, 49, 98, 107))],
)
def test_tiny_images_and_scales_keep_a_pixel(size, scale_factor):
    logits, image, label = random_inputs(height=size[0], width=size[1])
    loss, grad = loss_and_grad(logits, image, torch.full_like(label, 255), scale_factor=scale_factor)
    assert loss < 0
    assert grad.isfinite().all()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(image=torch.rand(2, 3, 8, 12)), r'differ .*\(2, 3, 8, 12\), \(2, 2, 4, 6\)'),
        (dict(label=torch.zeros(2, 4, 5)), r'label.*\(2, 2, 4, 6\), \(2, 4, 5\)'),
        (dict(boxes=torch.zeros(1, 4)), r'boxes.*\(1, 4\)'),
        (dict(boxes=torch.zeros(2, 3)), r'boxes.*\(2, 3\)'),
        (dict(logits=torch.full((2, 2, 4, 6), math.nan)), 'hold NaN'),
        (dict(logits=torch.full((2, 2, 4, 6), math.inf)), 'hold NaN'),
        (dict(image=torch.full((2, 3, 4, 6), math.nan)), 'hold NaN.*bad pixels'),
        (dict(sigma_rgb=0.0), 'sigma_rgb=0.0'),
        (dict(sigma_xy=-1.0), 'sigma_xy=-'),
        *((dict(scale_factor=value), f'scale_factor={value}') for value in (0.0, 2.0, math.nan)),
    ],
)
def test_bad_input_is_named(changes, message):
    inputs = dict(logits=torch.rand(2, 2, 4, 6), image=torch.rand(2, 3, 4, 6), label=torch.zeros(2, 4, 6))
    with pytest.raises(ValueError, match=message):
        dense_energy_loss(**{**inputs, **changes})
