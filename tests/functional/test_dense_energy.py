import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from afa_mmseg.functional.dense_energy import dense_energy_loss
from afa_mmseg.functional.permutohedral import bilateral_features, permutohedral_filter

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
COLOURS = torch.tensor([0.0, 80.0, 160.0, 240.0])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def reference(golden):
    """Inputs of the golden loss, the image in 0..255, and what comes out."""
    data = golden('rloss_96x96')
    data['image'] = data['img'] * STD + MEAN
    data['logit'] = data['logit'].float().requires_grad_()
    return data


def random_inputs(batch=2, classes=4, height=12, width=16):
    """Logits that require a gradient, an image whose neighbours are alike, and labels of which a third is undecided."""
    logits = (2 * torch.randn(batch, classes, height, width)).requires_grad_()
    image = 255 * F.interpolate(torch.rand(batch, 3, 4, 4), (height, width), mode='bilinear')
    label = torch.randint(classes, (batch, height, width))
    return logits, image, label.masked_fill(torch.rand(label.shape) < 1 / 3, 255)


def loss_and_grad(logits, *args, **kwargs):
    loss = dense_energy_loss(logits, *args, **kwargs)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def relative_error(out, expected):
    return ((out - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize('weight', [1e-7, 1.0])
def test_the_loss_equals_the_reference(reference, weight):
    loss = dense_energy_loss(
        reference['logit'], reference['image'], reference['label'], reference['img_box'], weight=weight
    )
    assert_close(loss, reference['loss_w1e-7' if weight < 1 else 'loss_w1'][0], rtol=1e-5, atol=0)


def test_the_gradient_equals_the_reference(reference):
    args = reference['logit'], reference['image'], reference['label'], reference['img_box']
    grad = loss_and_grad(*args)[1]
    assert relative_error(grad[:, reference['channels']], reference['grad_w1e-7']) < 1e-4
    norms = loss_and_grad(*args, weight=1.0)[1].flatten(2).norm(dim=2)
    assert_close(norms, reference['grad_w1_l2_per_channel'].float(), rtol=1e-4, atol=0)


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
def test_the_loss_equals_its_plain_formulation(boxes, sigma_rgb, sigma_xy):
    args = *random_inputs(), torch.tensor(boxes)
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


def test_the_gate_is_shut_where_label_and_prediction_are_certain():
    logits, image, label = random_inputs()
    label = label.masked_fill(label == 255, 0)
    certain = (100 * F.one_hot(label, 4).permute(0, 3, 1, 2).float()).requires_grad_()
    loss, grad = loss_and_grad(certain, image, label, scale_factor=1.0)
    assert loss == 0
    assert (grad == 0).all()
    undecided = dense_energy_loss(certain, image, torch.full_like(label, 255), scale_factor=1.0)
    assert undecided < dense_energy_loss(logits, image, label, scale_factor=1.0) < 0


def test_the_gate_is_what_the_likeliest_class_lacks():
    logits = torch.tensor([4.0, 1.0]).log().view(1, 2, 1, 1).expand(1, 2, 6, 8)  # P = (0.8, 0.2) everywhere
    image = random_inputs(batch=1, height=6, width=8)[1]
    decided, undecided = (dense_energy_loss(logits, image, torch.full((1, 6, 8), v), weight=1.0) for v in (0, 255))
    assert_close(decided, 0.2 * undecided, rtol=1e-5, atol=0)


def test_agreement_between_like_pixels_is_rewarded():
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 200
    label = torch.full((1, 8, 8), 255)
    along, across = torch.zeros(2, 1, 2, 8, 8)
    along[:, 0, :, :4] = along[:, 1, :, 4:] = 5
    across[:, 0, :4] = across[:, 1, 4:] = 5
    assert dense_energy_loss(along, image, label) < dense_energy_loss(across, image, label)
    logits = torch.zeros_like(along).requires_grad_()
    args = (logits + 0.1 * along, image, label)
    stepped = logits - 0.1 * torch.autograd.grad(dense_energy_loss(*args, weight=1.0), logits)[0]
    assert dense_energy_loss(stepped + 0.1 * along, image, label) < dense_energy_loss(*args)


def test_pixels_outside_the_boxes_do_not_count():
    logits, image, label = random_inputs()
    boxes = torch.tensor([[2, 8, 4, 10], [0, 12, 0, 6]])
    loss, grad = loss_and_grad(logits, image, label, boxes)
    outside = torch.ones(2, 1, 12, 16, dtype=torch.bool)
    outside[0, :, 2:8, 4:10] = outside[1, :, :, :6] = False
    assert (grad.masked_select(outside) == 0).all()
    assert (grad.masked_select(~outside) != 0).any()
    changed = torch.where(outside, torch.randn_like(logits), logits)
    assert_close(dense_energy_loss(changed, image, label, boxes), loss)


def test_no_boxes_mean_the_whole_image():
    inputs = random_inputs()
    whole = torch.tensor([[0, 12, 0, 16]]).expand(2, 4)
    assert torch.equal(dense_energy_loss(*inputs), dense_energy_loss(*inputs, whole))


def test_an_empty_box_costs_nothing():
    inputs = random_inputs()
    loss, grad = loss_and_grad(*inputs, torch.zeros(2, 4, dtype=torch.long))
    assert loss == 0
    assert (grad == 0).all()
    half = dense_energy_loss(*inputs, torch.tensor([[0, 12, 0, 16], [5, 5, 0, 16]]))
    assert_close(half, dense_energy_loss(*(x[:1] for x in inputs)) / 2, rtol=1e-5, atol=0)


def test_an_all_ignored_label_opens_the_gate_everywhere():
    logits, image, label = random_inputs()
    undecided = torch.full_like(label, 255)
    whole = torch.tensor([[0, 12, 0, 16]]).expand(2, 4)
    loss, grad = loss_and_grad(logits, image, undecided, weight=1.0)
    energy, published = plain_energy(logits, image, undecided, whole, 15.0, 100.0)
    assert_close(loss, energy, rtol=1e-5, atol=0)
    assert relative_error(grad, published) < 1e-5
    assert torch.equal(loss, dense_energy_loss(logits, image, undecided - 256, weight=1.0, ignore_index=-1))


def test_the_weight_scales_loss_and_gradient():
    inputs = random_inputs()
    loss, grad = loss_and_grad(*inputs, weight=1.0)
    scaled_loss, scaled_grad = loss_and_grad(*inputs, weight=0.01)
    assert_close(scaled_loss, 0.01 * loss, rtol=1e-5, atol=0)
    assert_close(scaled_grad, 0.01 * grad, rtol=1e-5, atol=1e-9)
    assert_close(torch.autograd.grad(7 * dense_energy_loss(*inputs, weight=1.0), inputs[0])[0], 7 * grad)


def test_a_batch_is_the_mean_of_its_images():
    logits, image, label = random_inputs(batch=3)
    loss, grad = loss_and_grad(logits, image, label, weight=1.0)
    alone = [loss_and_grad(*(x[i : i + 1] for x in (logits, image, label)), weight=1.0) for i in range(3)]
    assert_close(loss, torch.stack([loss for loss, _ in alone]).mean(), rtol=1e-5, atol=0)
    assert_close(grad, torch.cat([grad for _, grad in alone]) / 3, rtol=1e-4, atol=1e-6)


def test_permuting_classes_permutes_the_gradient():
    logits, image, label = random_inputs(classes=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    loss, grad = loss_and_grad(logits, image, label, weight=1.0)
    permuted_loss, permuted_grad = loss_and_grad(logits[:, order], image, label, weight=1.0)
    assert_close(permuted_loss, loss)
    assert_close(permuted_grad, grad[:, order], rtol=1e-4, atol=1e-6)


def test_equal_inputs_have_equal_outputs():
    inputs = random_inputs()
    (loss, grad), (again, grad_again) = loss_and_grad(*inputs), loss_and_grad(*inputs)
    assert torch.equal(loss, again)
    assert torch.equal(grad, grad_again)


def test_one_class_is_always_certain():
    logits, image, label = random_inputs(classes=1)
    loss, grad = loss_and_grad(logits, image, torch.zeros_like(label), weight=1.0)
    assert_close(loss, torch.tensor(0.0), rtol=0, atol=1e-4)
    assert_close(loss_and_grad(logits, image, torch.full_like(label, 255))[1], torch.zeros_like(grad))


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (1, 5), (3, 1), (2, 2)])
def test_tiny_images_keep_a_pixel(height, width):
    logits, image, label = random_inputs(height=height, width=width)
    loss, grad = loss_and_grad(logits, image, torch.full_like(label, 255))
    assert loss < 0
    assert grad.isfinite().all()


@pytest.mark.parametrize('size', [7, 49, 98, 107])
def test_a_tiny_scale_keeps_a_pixel(size):
    logits, image, label = random_inputs(batch=1, classes=2, height=size, width=size)
    assert dense_energy_loss(logits, image, torch.full_like(label, 255), scale_factor=1e-4) < 0


@pytest.mark.parametrize('colour', [0.0, 128.0])
def test_a_constant_image_counts_by_position_alone(colour):
    logits, image, label = random_inputs()
    loss, grad = loss_and_grad(logits, torch.full_like(image, colour), label, sigma_xy=8.0, weight=1.0)
    whole = torch.tensor([[0, 12, 0, 16]]).expand(2, 4)
    energy, published = plain_energy(logits, torch.full_like(image, colour), label, whole, 15.0, 8.0)
    assert_close(loss, energy, rtol=1e-5, atol=0)
    assert relative_error(grad, published) < 1e-5


def test_huge_sigmas_square_the_sum_of_each_class():
    logits, image, label = random_inputs(batch=1)
    undecided = torch.full_like(label, 255)
    loss = dense_energy_loss(logits, image, undecided, sigma_rgb=1e7, sigma_xy=1e7, scale_factor=1.0, weight=1.0)
    expected = -logits.softmax(1).sum((2, 3)).square().sum()
    assert 32 / 33 - 1e-4 < loss / expected < 1 + 1e-4  # what the lattice makes of pixels in one place


def test_tiny_sigmas_square_each_probability():
    logits, image, label = random_inputs(batch=1, height=6, width=6)
    settings = dict(sigma_rgb=1e-3, sigma_xy=1e-3, scale_factor=1.0, weight=1.0)
    loss = dense_energy_loss(logits, image, torch.full_like(label, 255), **settings)
    features = bilateral_features(image, 1e-3, 1e-3)[0]
    lone = torch.cat([permutohedral_filter(f[None, None], torch.ones(1, 1, 1)) for f in features]).view(6, 6)
    assert_close(loss, -(logits.softmax(1).square() * lone).sum(), rtol=1e-5, atol=0)


def test_half_precision_is_computed_in_single():
    logits, image, label = random_inputs()
    half, image = logits.detach().half().requires_grad_(), image.round()
    loss, grad = loss_and_grad(half, image.half(), label, weight=1.0)
    expected_loss, expected_grad = loss_and_grad(half.detach().float().requires_grad_(), image, label, weight=1.0)
    assert loss.dtype == torch.float
    assert torch.equal(loss, expected_loss)
    assert torch.equal(grad, expected_grad.half())


def test_inputs_need_not_be_contiguous():
    logits, image, label = random_inputs()
    strided = [x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (logits, image, label)]
    assert not any(x.is_contiguous() for x in strided)
    (loss, grad), (expected_loss, expected_grad) = loss_and_grad(*strided), loss_and_grad(logits, image, label)
    assert_close(loss, expected_loss, rtol=1e-5, atol=0)
    assert relative_error(grad, expected_grad) < 1e-5


def test_bytes_serve_as_pixels_and_labels():
    logits, image, label = random_inputs()
    expected = dense_energy_loss(logits, image.round(), label)
    assert torch.equal(dense_energy_loss(logits, image.round().byte(), label.byte()), expected)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(image=torch.rand(2, 1, 4, 6)), r'image must be \(B, 3, H, W\).*\(2, 1, 4, 6\)'),
        (dict(image=torch.rand(2, 3, 8, 12)), r'differ .*\(2, 3, 8, 12\), \(2, 2, 4, 6\)'),
        (dict(logits=torch.rand(1, 2, 4, 6)), 'differ in batch size'),
        (dict(label=torch.zeros(2, 4, 5)), r'label \(B, H, W\) differ: \(2, 2, 4, 6\), \(2, 4, 5\)'),
        (dict(label=torch.zeros(2, 1, 4, 6)), r'label \(B, H, W\) differ'),
        (dict(logits=torch.rand(2, 2, 0, 6), image=torch.rand(2, 3, 0, 6), label=torch.zeros(2, 0, 6)), 'empty'),
        (dict(boxes=torch.zeros(1, 4)), r'boxes.*\(1, 4\)'),
        (dict(boxes=torch.zeros(3, 4)), r'boxes.*\(3, 4\)'),
        (dict(boxes=torch.zeros(2, 3)), r'boxes.*\(2, 3\)'),
        (dict(boxes=torch.zeros(4)), r'boxes.*\(4,\)'),
        (dict(logits=torch.full((2, 2, 4, 6), math.nan)), 'hold NaN'),
        (dict(logits=torch.full((2, 2, 4, 6), math.inf)), 'hold NaN'),
        (dict(image=torch.full((2, 3, 4, 6), math.nan)), 'hold NaN.*bad pixels'),
        (dict(sigma_rgb=0.0), 'sigma_rgb=0.0'),
        (dict(sigma_xy=-1.0), 'sigma_xy=-'),
        (dict(scale_factor=0.0), 'scale_factor=0.0'),
        (dict(scale_factor=2.0), 'scale_factor=2.0'),
        (dict(scale_factor=math.nan), 'scale_factor=nan'),
    ],
)
def test_bad_input_is_named(changes, message):
    inputs = dict(logits=torch.rand(2, 2, 4, 6), image=torch.rand(2, 3, 4, 6), label=torch.zeros(2, 4, 6))
    with pytest.raises(ValueError, match=message):
        dense_energy_loss(**{**inputs, **changes})
