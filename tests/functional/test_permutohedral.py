import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import permutohedral
from afa_mmseg.functional.permutohedral import (
    PermutohedralLattice,
    bilateral_features,
    bilateral_filter,
    permutohedral_filter,
)
from tests.functional.inputs import smooth_image

SIGMAS = [(15, 100), (15, 50), (40, 10)]


@pytest.mark.parametrize(('sigma_rgb', 'sigma_xy'), SIGMAS)
def test_bilateral_filter_equals_the_reference(golden, sigma_rgb, sigma_xy):
    data = golden('bilateral_40x56')
    out = bilateral_filter(data['images'], data['ins'], sigma_rgb, sigma_xy)
    assert_close(out, data[f'out_sr{sigma_rgb}_sx{sigma_xy}'], rtol=1e-4, atol=1e-5)


def test_bilateral_filter_of_a_batch_equals_the_reference(golden):
    data = golden('bilateral_48x48')
    out = bilateral_filter(data['images'], data['ins'], *data['sigma_rgb_xy'].tolist())
    assert_close(out, data['outs'], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('flat', [False, True])
@pytest.mark.parametrize(('sigma_rgb', 'sigma_xy'), SIGMAS)
def test_weighted_means_are_close_to_the_gaussian(golden, sigma_rgb, sigma_xy, flat):
    data = golden('bilateral_40x56')
    image = torch.full_like(data['images'], 100) if flat else data['images']
    features, values = bilateral_features(image, sigma_rgb, sigma_xy), data['ins'].flatten(2).transpose(1, 2)
    kernel = (-0.5 * torch.cdist(features[0].double(), features[0].double()) ** 2).exp()
    exact = kernel @ values[0].double() / kernel.sum(1, keepdim=True)
    out = permutohedral_filter(features, values, normalize=True)
    assert torch.corrcoef(torch.stack([out.flatten().double(), exact.flatten()]))[0, 1] > 0.98


def plain_filter(features, values):
    """The filter by a dict of vertices, one point (d) after the other.

    The lattice is the integer grid in d + 1 dimensions seen along its diagonal: a point moved along the diagonal
    passes d + 1 cells, and stays in each as long as that vertex weighs.
    """
    count, dim = features.shape
    embed = np.zeros((dim + 1, dim))
    for j in range(dim):
        embed[: j + 1, j], embed[j + 1, j] = 1, -(j + 1)
        embed[:, j] *= math.sqrt(2 / 3 / ((j + 1) * (j + 2)))
    unit = np.eye(dim + 1, dtype=int)
    table, splats = defaultdict(float), []
    points = (features.double().numpy() @ embed.T).round(12)  # equal coordinates stay equal
    for point, value in zip(points, values.double().numpy()):
        cell = np.floor(point).astype(int)
        leaves = 1 - (point - cell)  # when each coordinate enters its next cell
        order = leaves.argsort(kind='stable')
        weights = np.diff(leaves[order], prepend=leaves[order[-1]] - 1)
        splats.append([])
        for axis, weight in zip(order, weights):
            table[_key(cell)] += weight * value
            splats[-1].append((_key(cell), weight))
            cell = cell + unit[axis]
    for axis in range(dim + 1):
        step = np.array(_key(unit[axis]))
        sides = {k: [tuple((np.array(k) + side).tolist()) for side in (step, -step)] for k in table}
        table = {k: v + 0.5 * sum(table.get(side, 0.0) for side in sides[k]) for k, v in table.items()}
    out = np.stack([sum(weight * table[k] for k, weight in splat) for splat in splats])
    return torch.from_numpy(out / (1 + 2.0**-dim))


def _key(cell):
    return tuple((cell[:-1] - cell[-1]).tolist())


@pytest.mark.parametrize('dim', [1, 2, 3, 5, 8])
def test_the_filter_equals_its_plain_formulation(dim):
    features, values = 1.5 * torch.randn(1, 60, dim), torch.randn(1, 60, 2)
    expected = plain_filter(features[0], values[0]).float()
    assert_close(permutohedral_filter(features, values)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('brightness', [0, 255])
@pytest.mark.parametrize('height_width', [(1, 1), (1, 9), (7, 1), (4, 4)])
def test_tiny_images_equal_the_plain_formulation(height_width, brightness):
    image, values = brightness * torch.rand(1, 3, *height_width), torch.rand(1, 2, *height_width)
    expected = plain_filter(bilateral_features(image, 15, 50)[0], values[0].flatten(1).T)
    out = bilateral_filter(image, values, 15, 50)
    assert_close(out[0].flatten(1).T, expected.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(('sigma_rgb', 'sigma_xy'), [*SIGMAS, (5, 64)])
def test_the_filter_is_symmetric(golden, sigma_rgb, sigma_xy):
    """Nearly so on small images: blurs along two directions do not commute where vertices are missing."""
    for image, tolerance in ((golden('dcrf_120x160')['image'][None], 1e-3), (smooth_image(1, 24, 32), 1e-2)):
        lattice = PermutohedralLattice(bilateral_features(image, sigma_rgb, sigma_xy))
        a, b = torch.rand(2, *lattice.shape, 3)
        assert_close((a * lattice(b)).sum(), (lattice(a) * b).sum(), rtol=tolerance, atol=0)


def test_permuting_points_permutes_the_output():
    features, values, order = torch.randn(1, 300, 5), torch.rand(1, 300, 2), torch.randperm(300)
    out = permutohedral_filter(features, values)
    assert_close(permutohedral_filter(features[:, order], values[:, order]), out[:, order], rtol=1e-5, atol=0)


def test_a_batch_equals_its_images():
    features = torch.randn(3, 200, 5) * torch.tensor([0.1, 1.0, 30.0]).view(3, 1, 1)
    values = torch.rand(3, 200, 4)
    alone = torch.cat([permutohedral_filter(f[None], v[None]) for f, v in zip(features, values)])
    assert_close(permutohedral_filter(features, values), alone, rtol=1e-6, atol=0)


def test_equal_images_of_a_batch_do_not_mix():
    features = torch.randn(1, 200, 5)
    lattice = PermutohedralLattice(features.repeat(2, 1, 1))
    out = lattice(torch.stack([torch.ones(200, 1), torch.zeros(200, 1)]))
    assert lattice.num_vertices == 2 * PermutohedralLattice(features).num_vertices
    assert (out[1] == 0).all()


@pytest.mark.parametrize('scale', [0.0, 1.0, 1e4])
def test_the_weighted_mean_of_a_constant_is_the_constant(scale):
    out = permutohedral_filter(scale * torch.randn(2, 200, 5), torch.full((2, 200, 3), 7.0), normalize=True)
    assert_close(out, torch.full_like(out, 7.0))


def test_one_lattice_filters_many_values():
    features, first, second = torch.randn(1, 200, 5), torch.rand(1, 200, 2), torch.rand(1, 200, 7)
    lattice = PermutohedralLattice(features)
    for values in (first, second, first):
        assert torch.equal(lattice(values), permutohedral_filter(features, values))


@pytest.mark.parametrize('normalize', [False, True])
def test_the_gradient_equals_a_numerical_one(normalize):
    features = torch.randn(2, 9, 3, dtype=torch.double)
    values = torch.rand(2, 9, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: permutohedral_filter(features, v, normalize=normalize), values)


@pytest.mark.parametrize('dim', [2, 5])
def test_hashed_vertices_equal_packed_ones(monkeypatch, dim):
    features, values = 3 * torch.randn(2, 500, dim), torch.rand(2, 500, 3)
    packed = PermutohedralLattice(features)
    monkeypatch.setattr(permutohedral, 'MAX_PACKED', 0)
    hashed = PermutohedralLattice(features)
    assert not torch.equal(hashed.splat_index, packed.splat_index)
    assert hashed.num_vertices == packed.num_vertices
    assert_close(hashed(values), packed(values), rtol=1e-5, atol=0)


def filter_alone(features):
    """Filter a one at each point, as if it were the only one."""
    return torch.cat([permutohedral_filter(f[None, None], torch.ones(1, 1, 1)) for f in features]).flatten()


def test_coordinates_too_large_to_pack_are_hashed():
    features = torch.rand(1, 100, 5).mul(255e6).repeat_interleave(2, dim=1)  # pairs of equal points
    simplex = permutohedral._locate(features[0].T.double())
    assert permutohedral._multipliers(simplex.remainder, 1)[1] == permutohedral.HASH_BASE**2 % 2**64 - 2**64
    values = torch.rand(1, 200, 1)
    pairs = values.view(100, 2).sum(1).repeat_interleave(2)
    out = permutohedral_filter(features, values).flatten()
    assert_close(out, pairs * filter_alone(features[0]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(('scale', 'dim'), [(1e-3, 5), (1.0, 2), (1.0, 5), (1e3, 5), (1e3, 2)])
def test_memory_is_linear_in_the_points(scale, dim):
    sizes = []
    for count in (1000, 2000):
        tables = vars(PermutohedralLattice(scale * torch.randn(2, count, dim))).values()
        tables = [x for entry in tables for x in (entry if isinstance(entry, (list, tuple)) else [entry])]
        sizes.append(sum(x.numel() for x in tables if isinstance(x, torch.Tensor)))
        corners = 2 * count * (dim + 1)
        assert 4 * corners <= sizes[-1] <= 4 * corners * (dim + 3)  # at worst, each corner is a vertex of its own
    assert sizes[1] <= 2 * sizes[0] + 1000


def test_huge_sigmas_sum_over_all_pixels():
    image, values = 255 * torch.rand(1, 3, 12, 16), torch.rand(1, 4, 12, 16)
    factor = bilateral_filter(image, values, 1e7, 1e7) / values.sum((2, 3), keepdim=True)
    assert_close(factor, factor[0, 0, 0, 0].expand_as(factor), rtol=1e-4, atol=0)
    assert 32 / 33 - 1e-4 < factor[0, 0, 0, 0] < 1 + 1e-4  # a vertex counts itself once, and on ways around it


@pytest.mark.parametrize('sigma', [1e-1, 1e-3, 1e-6])
def test_tiny_sigmas_leave_pixels_alone(sigma):
    image, values = (255 * torch.rand(1, 3, 6, 7)).round(), torch.rand(1, 4, 6, 7)
    features = bilateral_features(image, sigma, sigma)
    assert PermutohedralLattice(features).num_vertices == 6 * 7 * 6
    lone = filter_alone(features[0]).view(6, 7)
    assert_close(bilateral_filter(image, values, sigma, sigma), values * lone, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ('features', 'values', 'message'),
    [
        (torch.rand(10, 3), torch.rand(10, 1), r'features .*\(10, 3\)'),
        (torch.rand(1, 0, 3), torch.rand(1, 0, 1), r'features .*\(1, 0, 3\)'),
        (torch.rand(1, 10, 3), torch.rand(2, 10, 1), r'values .*\(1, 10\), got \(2, 10, 1\)'),
        (torch.rand(1, 10, 3), torch.rand(1, 10), r'values .*got \(1, 10\)'),
        (torch.full((1, 10, 3), math.nan), torch.rand(1, 10, 1), 'features hold NaN'),
        (torch.rand(1, 10, 3) * 1e20, torch.rand(1, 10, 1), 'features hold .* numbers above'),
        (torch.rand(1, 10, 3), torch.full((1, 10, 1), math.nan), 'values hold NaN'),
        (torch.rand(1, 10, 3), torch.full((1, 10, 1), -math.inf), 'values hold NaN or infinity'),
    ],
)
def test_bad_points_are_named(features, values, message):
    with pytest.raises(ValueError, match=message):
        permutohedral_filter(features, values)


@pytest.mark.parametrize(
    ('image', 'values', 'sigmas', 'message'),
    [
        ((3, 8, 8), (1, 2, 8, 8), (15, 50), r'image must be \(B, 3, H, W\).*: \(3, 8, 8\)'),
        ((1, 1, 8, 8), (1, 2, 8, 8), (15, 50), r'image must be \(B, 3, H, W\).*: \(1, 1, 8, 8\)'),
        ((1, 3, 0, 8), (1, 2, 0, 8), (15, 50), r'empty: \(1, 3, 0, 8\)'),
        ((1, 3, 8, 8), (2, 8, 8), (15, 50), r'maps .*\(2, 8, 8\)'),
        ((1, 3, 8, 8), (2, 2, 8, 8), (15, 50), r'batch size.*\(2, 2, 8, 8\)'),
        ((1, 3, 8, 8), (1, 2, 8, 9), (15, 50), r'\(1, 3, 8, 8\), \(1, 2, 8, 9\)'),
        ((1, 3, 8, 8), (1, 2, 8, 8), (0, 50), 'sigma_rgb=0'),
        ((1, 3, 8, 8), (1, 2, 8, 8), (15, -1.0), 'sigma_xy=-1.0'),
        ((1, 3, 8, 8), (1, 2, 8, 8), (math.nan, 50), 'sigma_rgb=nan'),
    ],
)
def test_bad_images_are_named(image, values, sigmas, message):
    with pytest.raises(ValueError, match=message):
        bilateral_filter(torch.rand(image), torch.rand(values), *sigmas)
