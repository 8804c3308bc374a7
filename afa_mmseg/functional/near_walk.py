"""The random walk in bands of rows, without the matrix of all pairs."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .affinity import COLUMN_EPS, radius_mask

#: Rows of the grid that are worked on together: enough for a product of matrices, few beside the radius.
BAND_ROWS = 2
#: Height, in radii, from which bands are faster; on a lower grid most pairs are near.
MIN_RADII = 3


@dataclass(frozen=True, eq=False)
class AffinityFactors:
    """An affinity sigmoid(X + X^T + bias) as the factors of X = query key^T: few of its pairs are needed.

    An index selects images, as that of a tensor does.

    Shape:
        query, key (B, hw, D); bias (1,).
    """

    query: Tensor
    key: Tensor
    bias: Tensor

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, images: slice) -> 'AffinityFactors':
        return AffinityFactors(self.query[images], self.key[images], self.bias)

    def float(self) -> 'AffinityFactors':
        """Return the factors in float32."""
        return AffinityFactors(self.query.float(), self.key.float(), self.bias.float())

    def dense(self) -> Tensor:
        """Compute all pairs; (B, hw, hw) in [0, 1], symmetric.

        Not in mixed precision: products that are too large for float16 would add up to NaN.
        """
        with torch.autocast(self.query.device.type, enabled=False):
            logits = self.query @ self.key.transpose(1, 2)
            return (logits + logits.transpose(1, 2) + self.bias).sigmoid()


def bands_pay(grid: tuple[int, int], radius: int, device: torch.device) -> bool:
    """Return whether walking by bands is faster: on CPUs and high grids."""
    return device.type == 'cpu' and grid[0] >= MIN_RADII * radius


@torch.no_grad()
def walk_by_bands(scores: Tensor, affinity: AffinityFactors, radius: int) -> Tensor:
    """Sum for every cell the scores of the near cells, weighted as `transition_matrix` does.

    Band by band, the affinities of some rows to themselves and the `radius` rows below are computed, used in
    both directions (they are symmetric) and discarded.

    Args:
        scores: Scores to propagate.
        affinity: Factors of the affinity between all cells.
        radius: Chebyshev distance in cells over which scores are exchanged.

    Shape:
        scores (B, C, h, w); output (B, C, h, w).
    """
    height, width = scores.shape[-2:]
    rows = min(BAND_ROWS, height)
    near = radius_mask(min(rows + radius, height), width, radius)[: rows * width].to(scores)
    source = F.pad(scores.flatten(2), (0, 0, 0, 1), value=1.0)  # the last channel collects the columns' sums
    total = torch.zeros_like(source)  # (B, C + 1, hw)
    for top in range(0, height, rows):
        start, middle, end = (min(row, height) * width for row in (top, top + rows, top + rows + radius))
        ties = _ties(affinity, slice(start, middle), slice(start, end))
        ties.mul_(near[: middle - start, : end - start]).square_()  # (B, rows w, (rows + radius) w)
        total[..., start:end] += source[..., start:middle] @ ties
        total[..., start:middle] += source[..., middle:end] @ ties[..., middle - start :].transpose(1, 2)
    return (total[:, :-1] / (total[:, -1:] + COLUMN_EPS)).view_as(scores)


def _ties(affinity: AffinityFactors, cells: slice, others: slice) -> Tensor:
    """Compute the affinity between some cells and some others; (B, cells, others)."""
    query, key, bias = affinity.query, affinity.key, affinity.bias
    logits = torch.bmm(query[:, cells], key[:, others].transpose(1, 2))
    return logits.baddbmm_(key[:, cells], query[:, others].transpose(1, 2)).add_(bias).sigmoid_()
