"""Queries and keys of attention blocks: what an attention-exposing backbone returns beside its features.

Such a backbone has a method `forward_with_attention(x) -> (features, attentions)`: the tuple of feature maps that
`forward` returns, and a list of `Attention` whose N positions are the cells of the last map, row by row.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Attention(NamedTuple):
    """Queries and keys of one block: its attention logits, not yet multiplied out.

    Shape:
        query, key (B, heads, N, d).
    """

    query: Tensor
    key: Tensor

    @property
    def logits(self) -> Tensor:
        """Unscaled attention logits, before the softmax; (B, heads, N, N)."""
        return self.query @ self.key.transpose(-2, -1)

    def first(self, n: int) -> 'Attention':
        """Keep the first n images of the batch."""
        return Attention(self.query[:n], self.key[:n])

    def at(self, i: int) -> 'Attention':
        """Keep one image of the batch."""
        return Attention(self.query[i : i + 1], self.key[i : i + 1])

    def weights_of(self, cell: int) -> Tensor:
        """Return what one cell of the first image attends to, head by head; (heads, N), sum 1 each."""
        logits = self.query[0, :, cell, None] @ self.key[0].transpose(-2, -1) / self.query.shape[-1] ** 0.5
        return torch.softmax(logits[:, 0].float(), dim=-1)


def check_size(image: Tensor, min_size: int) -> None:
    """Raise a `ValueError` if a side of an image (B, 3, H, W) is below `min_size` pixels."""
    height, width = image.shape[-2:]
    if min(height, width) < min_size:
        raise ValueError(
            f'image of {height} x {width} pixels is too small for the network: each side needs at least {min_size}. '
            'Use a larger crop_size, larger images, or leave out small scales'
        )
