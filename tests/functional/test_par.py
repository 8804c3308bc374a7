import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from afa_mmseg.functional import pamr, par
from afa_mmseg.functional.neighbours import neighbour_offsets, neighbour_views
from afa_mmseg.functional.par import distance_weights

GOLDENS = ['40x56_c3', '40x56_c3_highmask', '64x64_c3_lowmask', '96x96_flat']


@pytest.mark.parametrize('name', GOLDENS)
def test_par_equals_the_reference(golden, name):
    data = golden(f'par_{name}')
    for key in (key for key in data if key.startswith('out_it')):
        out = par(data['imgs'], data['masks'], num_iters=int(key[len('out_it') :]))
        assert_close(out, data[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', ['40x56_c3', '64x64_c3_lowmask', '96x96_flat'])
def test_pamr_equals_the_reference(golden, name):
    data = golden(f'pamr_{name}')
    assert_close(pamr(data['imgs'], data['masks'], num_iters=10), data['out_it10'], rtol=0, atol=1e-5)


def test_distance_weights_equal_the_reference(golden):
    expected = golden('par_pos')['weight']
    assert_close(0.01 * distance_weights((1, 2, 4, 8, 12, 24), 0.3), expected.flatten(2).view(1, -1, 1, 1))


def plain_par(image, cam, dilations, num_iters):
    """PAR as SPEC writes it: all neighbours gathered."""

    def gather(x):  # (B, C, K, H, W)
        shifted = []
        for d in dilations:
            padded = F.pad(x, (d, d, d, d), mode='replicate')
            height, width = x.shape[-2:]
            for dy in (0, d, 2 * d):
                for dx in (0, d, 2 * d):
                    if (dy, dx) != (d, d):
                        shifted.append(padded[..., dy : dy + height, dx : dx + width])
        return torch.stack(shifted, dim=2)

    near = gather(image)
    std = near.std(dim=2, keepdim=True)
    colour = (-(((near - image[:, :, None]).abs() / (std + 1e-8) / 0.3) ** 2)).mean(1).softmax(1)
    distance = torch.tensor([d * s for d in dilations for s in (2**0.5, 1, 2**0.5, 1, 1, 2**0.5, 1, 2**0.5)])
    position = (-((distance / (distance.std() + 1e-8) / 0.3) ** 2)).softmax(0)
    weights = (colour + 0.01 * position[None, :, None, None])[:, None]
    for _ in range(num_iters):
        cam = (gather(cam) * weights).sum(2)
    return cam


def test_par_equals_its_plain_formulation():
    image, cam = torch.rand(2, 3, 20, 31), torch.randn(2, 4, 20, 31)
    assert_close(par(image, cam, (1, 3, 7), 4), plain_par(image, cam, (1, 3, 7), 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('num_iters', [1, 10])
def test_par_scales_a_flat_cam_by_its_kernel_mass(num_iters):
    cam = torch.full((1, 2, 32, 32), 0.4)
    out = par(torch.rand(1, 3, 32, 32), cam, (1, 2, 4), num_iters)
    assert_close(out, cam * 1.01**num_iters, rtol=1e-5, atol=0)


def test_pamr_leaves_a_flat_cam_as_it_is():
    cam = torch.full((1, 2, 32, 32), 0.4)
    assert_close(pamr(torch.rand(1, 3, 32, 32), cam, (1, 2, 4), 10), cam, rtol=1e-5, atol=0)


@pytest.mark.parametrize('refine', [par, pamr])
def test_a_blurred_boundary_moves_onto_a_colour_edge(refine):
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16:] = 1.0
    columns = torch.arange(32.0).expand(1, 1, 32, 32)
    cam = torch.sigmoid((columns - 12) / 4)  # half-way at column 12, the edge is at 16
    scores = refine(image, torch.cat([1 - cam, cam], dim=1), (1, 2, 4), 10)
    label = scores.argmax(dim=1)[0]
    assert (cam[0, 0] > 0.5).sum() == 32 * 19
    assert (label != (columns[0, 0] >= 16)).float().mean() < 0.04


@pytest.mark.parametrize('refine', [par, pamr])
def test_stacked_cams_equal_separate_ones(refine):
    image, low, high = torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 24)
    both = refine(image, torch.cat([low, high], dim=1), (1, 2), 3)
    apart = torch.cat([refine(image, cam, (1, 2), 3) for cam in (low, high)], dim=1)
    assert_close(both, apart, rtol=1e-6, atol=1e-6)  # a matrix of more columns may be summed in another order


def test_one_pixel_and_constant_images_stay_finite():
    for image in (torch.rand(1, 3, 1, 1), torch.zeros(1, 3, 8, 8)):
        out = par(image, torch.ones(1, 1, *image.shape[-2:]), num_iters=2)
        assert_close(out, torch.full_like(out, 1.01**2))


def test_neighbours_are_clamped_at_the_border():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    first, *_, last = neighbour_views(x, (2,))
    assert neighbour_offsets((2,))[0] == (-2, -2)
    assert first[0, 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert last[0, 0].tolist() == [[8, 8, 8], [8, 8, 8], [8, 8, 8]]


@pytest.mark.parametrize(
    ('image', 'cam', 'dilations', 'message'),
    [
        ((1, 1, 8, 8), (1, 2, 8, 8), (1,), r'got \(1, 1, 8, 8\)'),
        ((2, 3, 8, 8), (1, 2, 8, 8), (1,), r'got \(2, 3, 8, 8\)'),
        ((1, 3, 8, 8), (1, 2, 8, 8), (), r'dilations.*got \(\)'),
        ((1, 3, 8, 8), (1, 2, 8, 8), (0, 1), r'got \(0, 1\)'),
    ],
)
def test_bad_input_is_named(image, cam, dilations, message):
    with pytest.raises(ValueError, match=message):
        par(torch.rand(image), torch.rand(cam), dilations)
