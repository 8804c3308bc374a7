"""Weighted sums over dilated neighbourhoods, again and again: the loop of the local refiners."""

import warnings
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from .neighbours import BLOCK_ROWS, neighbour_offsets, neighbour_views

#: A product with a sparse matrix costs as much for this many channels as for one.
LANES = 8


def diffuse(cam: Tensor, weights: Tensor, dilations: Sequence[int], num_iters: int) -> Tensor:
    """Replace each pixel by the weighted sum of its neighbours, `num_iters` times.

    The neighbours of `cam` are never gathered. On a CPU with MKL, where no gradient is asked for, each
    iteration is a product with a sparse matrix; elsewhere it accumulates shifted views.

    Shape:
        cam (B, C, H, W); weights (B, K, H, W), K = 8 neighbours at each dilation; output (B, C, H, W).
    """
    if _matrix_serves(cam, weights):
        return diffuse_by_matrix(cam, weights, dilations, num_iters)
    return diffuse_by_views(cam, weights, dilations, num_iters)


def diffuse_by_views(cam: Tensor, weights: Tensor, dilations: Sequence[int], num_iters: int) -> Tensor:
    """Diffuse by accumulating shifted views: one padded copy of memory, any device, differentiable.

    Shape:
        As `diffuse`.
    """
    weights = weights.contiguous()
    for _ in range(num_iters):
        out = torch.zeros_like(cam)
        for k, view in enumerate(neighbour_views(cam, dilations)):
            out.addcmul_(view, weights[:, k : k + 1])
        cam = out
    return cam


@torch.no_grad()
@torch.autocast('cpu', enabled=False)
def diffuse_by_matrix(cam: Tensor, weights: Tensor, dilations: Sequence[int], num_iters: int) -> Tensor:
    """Diffuse by products with the sparse matrix (HW, HW) of the weights, on a CPU.

    The matrix is cut into blocks of rows. Seen from the first row of its block, each block has the same
    neighbours, so that all share one table of indices. Rows beyond the image repeat its first and last one.

    Shape:
        As `diffuse`.
    """
    _, channels, height, width = cam.shape
    margin = max(dilations)
    values = weights.permute(0, 2, 3, 1).contiguous()  # (B, H, W, K), no copy where laid out for it
    index, starts = _block_index(tuple(dilations), min(BLOCK_ROWS, height), width)
    lanes = -(-channels // LANES) * LANES
    rows, rows_after = (cam.new_zeros(height + 2 * margin, width, lanes) for _ in range(2))
    out = torch.empty_like(cam, memory_format=torch.contiguous_format)
    for x, of_image, result in zip(cam, values, out):
        blocks = [
            (top, len(block), _sparse(block, index, starts, len(block) + 2 * margin))
            for top, block in zip(range(0, height, BLOCK_ROWS), of_image.split(BLOCK_ROWS))
        ]
        rows[margin : margin + height, :, :channels] = x.permute(1, 2, 0)
        for _ in range(num_iters):
            rows[:margin] = rows[margin]
            rows[margin + height :] = rows[margin + height - 1]
            for top, count, matrix in blocks:
                source = rows[top : top + count + 2 * margin].flatten(0, 1)
                torch.mm(matrix, source, out=rows_after[margin + top : margin + top + count].flatten(0, 1))
            rows, rows_after = rows_after, rows
        result.copy_(rows[margin : margin + height, :, :channels].permute(2, 0, 1))
    return out


def _matrix_serves(cam: Tensor, weights: Tensor) -> bool:
    if torch.compiler.is_compiling() or cam.device.type != 'cpu' or not torch.backends.mkl.is_available():
        return False
    return not (torch.is_grad_enabled() and (cam.requires_grad or weights.requires_grad))


@lru_cache(maxsize=4)  # images come in one size, or few
def _block_index(dilations: tuple[int, ...], rows: int, width: int) -> tuple[Tensor, Tensor]:
    """Number the neighbours of each pixel of a block of rows, counting from `max(dilations)` rows above it.

    Shape:
        outputs (rows * width * K,) and where each pixel's begin, (rows * width + 1,).
    """
    dtype = torch.int32  # MKL counts in 32 bits
    down, right = torch.tensor(neighbour_offsets(dilations), dtype=dtype).unbind(1)  # (K,) each
    row = torch.arange(rows, dtype=dtype)[:, None] + max(dilations) + down  # (rows, K)
    column = (torch.arange(width, dtype=dtype)[:, None] + right).clamp_(0, width - 1)  # (width, K)
    index = (row * width)[:, None] + column  # (rows, width, K)
    return index.flatten(), torch.arange(0, index.numel() + 1, len(down), dtype=dtype)


def _sparse(values: Tensor, index: Tensor, starts: Tensor, source_rows: int) -> Tensor:
    """Make the matrix of one block from its weights (rows, width, K)."""
    rows, width, _ = values.shape
    pixels = rows * width
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Sparse CSR tensor support is in beta')
        return torch.sparse_csr_tensor(
            starts[: pixels + 1],
            index[: values.numel()],
            values.flatten(),
            size=(pixels, source_rows * width),
            check_invariants=False,
        )
