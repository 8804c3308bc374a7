"""High-dimensional Gaussian filtering on the permutohedral lattice (Adams, Baek and Davis, Eurographics 2010)."""

import math
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

#: Vertices whose coordinates fit into this many numbers are numbered digit by digit, others by a hash.
MAX_PACKED = 2**62
#: Beyond this, in standard deviations, neighbouring positions are no longer distinct.
MAX_FEATURE = 1e12
#: The hash is a polynomial of this modulo 2**64: of a million vertices, two collide in one of 10**7 lattices.
HASH_BASE = 0x9E3779B97F4A7C15


class Simplex(NamedTuple):
    """Where each point lies in the lattice: its simplex, and its place inside.

    Shape:
        remainder, rank (d + 1, N) int64; weights (d + 1, N), not negative, summing to 1.
    """

    remainder: Tensor
    rank: Tensor
    weights: Tensor


class PermutohedralLattice:
    """The lattice of a batch of point sets: built once, it filters any number of values.

    A value is splatted to the d + 1 vertices around its point, blurred along the d + 1 directions of the lattice
    and sliced back: a sum over all points under a Gaussian of unit variance in feature space, in time and memory
    linear in their number. The lattices of a batch share one table. Sums run in a fixed order: on a CPU, equal
    inputs have equal outputs.

    Args:
        features: Positions in units of the filter's standard deviation.

    Shape:
        features (B, N, d).

    Raises:
        ValueError: `features` are not (B, N, d), or hold NaN or numbers too large to distinguish neighbours.
    """

    def __init__(self, features: Tensor) -> None:
        if features.ndim != 3 or 0 in features.shape:
            raise ValueError(f'features must be (B, N, d) and not empty, got {tuple(features.shape)}')
        if not (features.abs() < MAX_FEATURE).all():
            raise ValueError(
                f'features hold NaN or infinity, or numbers above {MAX_FEATURE:g}: '
                'look for a sigma near 0 or bad pixels'
            )
        self.shape = features.shape[:2]
        dim = features.shape[-1]
        self.scale = 1 / (1 + 2.0**-dim)
        dtype = torch.promote_types(features.dtype, torch.float32)
        simplex = _locate(features.detach().flatten(0, 1).T.double())  # small steps on large coordinates
        multipliers = _multipliers(simplex.remainder, len(features))
        keys = _vertex_keys(simplex, multipliers)  # (d + 1, B N)
        keys += multipliers[-1] * torch.arange(len(features), device=keys.device).repeat_interleave(self.shape[1])
        self._build(keys, simplex.weights.to(dtype), multipliers[:dim])

    def _build(self, keys: Tensor, weights: Tensor, multipliers: Tensor) -> None:
        """Number the vertices in the order of their keys, and tabulate splat, blur and slice.

        Shape:
            keys, weights (d + 1, B N); multipliers (d,).
        """
        ordered, order = keys.flatten().sort(stable=True)
        first = torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1]])
        number = first.cumsum(0, dtype=torch.int32) - 1
        starts = first.nonzero().squeeze(1)
        # An empty bag at the end makes a row of zeros: where there is no neighbour.
        self.splat_offsets = torch.cat([starts, starts.new_full((1,), len(ordered))]).int()
        self.splat_index = (order % keys.shape[1]).int()
        self.splat_weights = weights.flatten()[order]
        self.slice_index = torch.empty_like(number).index_copy_(0, order, number).view_as(keys).T.contiguous()
        self.slice_weights = weights.T.contiguous()
        self.blur_index = _neighbours(ordered[starts], multipliers)
        self.blur_weights = weights.new_tensor([1.0, 0.5, 0.5]).repeat(len(starts) + 1, 1)

    @property
    def num_vertices(self) -> int:
        """How many vertices the lattices of the batch have together."""
        return len(self.splat_offsets) - 1

    def __call__(self, values: Tensor) -> Tensor:
        """Filter values, without normalisation; differentiable in them.

        Shape:
            values (B, N, C); output (B, N, C), in float32 for half precision.

        Raises:
            ValueError: `values` do not fit the features, or hold NaN or infinity.
        """
        if values.ndim != 3 or values.shape[:2] != self.shape:
            raise ValueError(f'values must be (B, N, C) with (B, N) = {tuple(self.shape)}, got {tuple(values.shape)}')
        if not values.isfinite().all():
            raise ValueError('values hold NaN or infinity')
        flat = values.to(self.slice_weights.dtype).flatten(0, 1)
        return self.filter(flat).view(*self.shape, -1)

    def filter(self, values: Tensor) -> Tensor:
        """Filter values that are known to fit.

        Shape:
            values (B N, C) in the lattice's dtype; output (B N, C).
        """
        table = _gather_sum(values, self.splat_index, self.splat_weights, self.splat_offsets)  # (M + 1, C)
        for index in self.blur_index:
            table = _gather_sum(table, index, self.blur_weights)
        return _gather_sum(table, self.slice_index, self.slice_weights) * self.scale


def permutohedral_filter(features: Tensor, values: Tensor, *, normalize: bool = False) -> Tensor:
    """Sum values under a Gaussian in feature space, approximately (Adams, Baek and Davis, Eurographics 2010).

    Args:
        features: Positions in units of the filter's standard deviation.
        values: What to sum.
        normalize: Divide by the filter of ones: a weighted mean instead of a sum.

    Shape:
        features (B, N, d); values (B, N, C); output (B, N, C) in the dtype of `values`.

    Raises:
        ValueError: shapes do not fit, or an input holds NaN or infinity.

    Note:
        The sum is the lattice's own, as published: about 0.55 times the exact Gaussian sum for images.
        To filter several values over the same features, build a `PermutohedralLattice` once.

    Example:
        >>> features = torch.rand(1, 50, 5)
        >>> mean = permutohedral_filter(features, torch.full((1, 50, 2), 3.0), normalize=True)
        >>> bool(torch.allclose(mean, torch.tensor(3.0)))
        True
    """
    lattice = PermutohedralLattice(features)
    out = lattice(values)
    if normalize:
        out = out / lattice(torch.ones_like(values[..., :1]))
    return out.to(values.dtype)


def bilateral_features(image: Tensor, sigma_rgb: float, sigma_xy: float) -> Tensor:
    """Compute the position of each pixel (x, y, r, g, b) in units of the two standard deviations.

    Shape:
        image (B, 3, H, W); output (B, H W, 5).

    Raises:
        ValueError: a sigma is not positive.
    """
    check_positive(sigma_rgb=sigma_rgb)
    colour = image.float().flatten(2).transpose(1, 2) / sigma_rgb
    return torch.cat([spatial_features(image, sigma_xy).expand(len(image), -1, -1), colour], dim=-1)


def spatial_features(image: Tensor, sigma_xy: float) -> Tensor:
    """Compute the position of each pixel (x, y) in units of the standard deviation.

    Shape:
        image (B, C, H, W); output (1, H W, 2).

    Raises:
        ValueError: `sigma_xy` is not positive.
    """
    check_positive(sigma_xy=sigma_xy)
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing='ij'
    )
    return torch.stack([x, y], dim=-1).flatten(0, 1)[None] / sigma_xy


def bilateral_filter(image: Tensor, values: Tensor, sigma_rgb: float, sigma_xy: float) -> Tensor:
    """Sum maps over pixels that are near and alike, without normalisation.

    Args:
        image: RGB in 0..255.
        values: Maps to sum, any real range.
        sigma_rgb: Standard deviation over colours, in pixel values.
        sigma_xy: Standard deviation over positions, in pixels.

    Shape:
        image (B, 3, H, W); values (B, C, H, W); output (B, C, H, W) in the dtype of `values`.

    Raises:
        ValueError: shapes do not fit, a sigma is not positive, or an input holds NaN or infinity.
    """
    check_maps(image, values)
    filtered = permutohedral_filter(
        bilateral_features(image, sigma_rgb, sigma_xy), values.flatten(2).transpose(1, 2).contiguous()
    )
    return filtered.transpose(1, 2).reshape(values.shape)


def check_positive(**values: float) -> None:
    """Raise ValueError that names the first of the values that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f'{name}={value} must be positive')


def check_maps(image: Tensor, maps: Tensor) -> None:
    """Raise ValueError unless `maps` (B, C, H, W) lie on the pixels of `image` (B, 3, H, W)."""
    if image.ndim != 4 or image.shape[1] != 3 or maps.ndim != 4:
        raise ValueError(f'image must be (B, 3, H, W) and maps (B, C, H, W): {tuple(image.shape)}, {tuple(maps.shape)}')
    if 0 in image.shape:
        raise ValueError(f'image must not be empty: {tuple(image.shape)}')
    if image.shape[0] != maps.shape[0] or image.shape[-2:] != maps.shape[-2:]:
        raise ValueError(
            f'image and maps differ in batch size, height or width: {tuple(image.shape)}, {tuple(maps.shape)}'
        )


def _locate(points: Tensor) -> Simplex:
    """Find the simplex around each point: its remainder-0 vertex and the order of the offsets from there.

    Shape:
        points (d, N).
    """
    dim = len(points)
    elevated = _elevate(points) / (dim + 1)  # in units of the lattice's coarse steps
    nearest = elevated.round()
    offset = elevated - nearest
    rank = _rank(offset)
    excess = nearest.sum(0).long()  # in -d..d: back onto the plane of zero sum by moving the outermost coordinates
    rank += excess
    low, high = rank < 0, rank > dim
    step = low.long() - high.long()
    rank += step * (dim + 1)
    offset -= step
    remainder = (nearest.long() + step) * (dim + 1)

    ordered = torch.empty_like(offset).scatter_(0, rank, offset)
    falling = ordered.flip(0)  # (d + 1, N), row k: the offset of rank d - k
    weights = falling - falling.roll(1, 0)
    weights[0] += 1
    return Simplex(remainder, rank, weights)


def _elevate(points: Tensor) -> Tensor:
    """Embed points (d, N) into the plane of zero sum in d + 1 dimensions, scaled as the lattice's blur needs."""
    dim = len(points)
    width = math.sqrt(2 / 3) * (dim + 1)
    scales = torch.tensor([width / math.sqrt((i + 1) * (i + 2)) for i in range(dim)]).to(points)
    scaled = points * scales[:, None]
    after = scaled.flip(0).cumsum(0).flip(0)  # row i: the sum of rows i, i + 1, ...
    elevated = torch.cat([after, torch.zeros_like(after[:1])])
    factors = torch.arange(1, dim + 1).to(points)
    elevated[1:] -= scaled * factors[:, None]
    return elevated


def _rank(offset: Tensor) -> Tensor:
    """Count for each coordinate how many are larger, the first of equal ones first; (d + 1, N) int64."""
    rank = torch.zeros_like(offset, dtype=torch.int8)
    for i in range(len(offset)):
        for j in range(i + 1, len(offset)):
            smaller = offset[i] < offset[j]
            rank[i] += smaller
            rank[j] += ~smaller
    return rank.long()


def _multipliers(remainder: Tensor, batch: int) -> Tensor:
    """Choose what turns coordinates into one number: mixed radix where it fits, else a hash; (d + 1,) int64.

    The last one is for the image's index. Coordinates leave room for one step of the blur in each direction.
    """
    dim = len(remainder) - 1
    low, high = remainder[:dim].amin(1), remainder[:dim].amax(1)
    digits = (high - low + 4 * (dim + 1)).double()
    radix = torch.cat([digits.new_ones(1), digits.cumprod(0)])
    powers = [pow(HASH_BASE, i + 1, 2**64) for i in range(dim + 1)]
    hashed = torch.tensor([p - 2**64 if p >= 2**63 else p for p in powers], device=remainder.device)
    return torch.where(radix[-1] * batch < MAX_PACKED, radix.clamp(max=MAX_PACKED).long(), hashed)


def _vertex_keys(simplex: Simplex, multipliers: Tensor) -> Tensor:
    """Number the d + 1 vertices of each simplex, linearly in their coordinates; (d + 1, N) int64.

    Vertex k is k above vertex 0 in each coordinate, less d + 1 in those of the k highest ranks.
    """
    dim = len(simplex.rank) - 1
    weights = torch.cat([multipliers[:dim], multipliers.new_zeros(1)])[:, None]
    base = (simplex.remainder * weights).sum(0)
    by_rank = torch.zeros_like(simplex.rank).scatter_(0, simplex.rank, weights.expand_as(simplex.rank))
    keys = [base]
    for k in range(1, dim + 1):
        keys.append(keys[-1] + multipliers[:dim].sum() - (dim + 1) * by_rank[dim + 1 - k])
    return torch.stack(keys)


def _neighbours(keys: Tensor, multipliers: Tensor) -> list[Tensor]:
    """List each vertex and its two neighbours along each direction; number M, a row of zeros, for absent ones.

    Shape:
        keys (M,), ascending; d + 1 tables (M + 1, 3) int32.
    """
    dim, size = len(multipliers), len(keys)
    steps = multipliers.sum() - (dim + 1) * torch.cat([multipliers, multipliers.new_zeros(1)])
    number = torch.arange(size + 1, device=keys.device, dtype=torch.int32)
    tables = []
    for step in steps:
        wanted = keys + step
        place = torch.searchsorted(keys, wanted).clamp_(max=size - 1)
        place = torch.where(keys[place] == wanted, place, size)
        behind = torch.full_like(number, size).index_copy_(0, place, number[:size])
        behind[size] = size
        tables.append(torch.stack([number, F.pad(place.int(), (0, 1), value=size), behind], dim=1))
    return tables


def _gather_sum(table: Tensor, index: Tensor, weights: Tensor, offsets: Optional[Tensor] = None) -> Tensor:
    """Add up weighted rows of a table (M, C) in bags: rows of `index` (N, K), or its runs from `offsets` on."""
    return F.embedding_bag(index, table, offsets, mode='sum', per_sample_weights=weights)
