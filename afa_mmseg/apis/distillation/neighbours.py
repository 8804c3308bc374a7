"""Nearest neighbours of pooled features: how well a backbone separates classes without training."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .crops import load_square


@torch.no_grad()
def pooled_features(
    features: Callable[[Tensor], Tensor], images: Sequence[Path], size: int = 224, batch_size: int = 16
) -> Tensor:
    """Average the map of each image, resized to size x size.

    Args:
        features: Maps images (B, 3, H, W), RGB in 0..1, to (B, C, h, w).
        images: Image files.
        size: Side in pixels.
        batch_size: Images a batch.

    Shape:
        output (N, C), of length 1 each.
    """
    pooled = []
    for start in range(0, len(images), batch_size):
        batch = torch.stack([load_square(path, size) for path in images[start : start + batch_size]])
        pooled.append(features(batch / 255).mean(dim=(2, 3)))
    return F.normalize(torch.cat(pooled).float(), dim=1)


def knn_accuracy(reference: Tensor, reference_class: Tensor, query: Tensor, query_class: Tensor, k: int = 5) -> float:
    """Return the share of queries whose k nearest references vote for their class; nearer ones weigh more.

    Shape:
        reference (N, C) and query (M, C) of length 1; classes (N,) and (M,).

    Example:
        >>> x = torch.eye(3)
        >>> round(knn_accuracy(x, torch.tensor([0, 1, 2]), x, torch.tensor([0, 1, 0]), k=1), 3)
        0.667
    """
    similarity, nearest = (query @ reference.T).topk(min(k, len(reference)), dim=1)
    votes = F.one_hot(
        reference_class[nearest], int(max(reference_class.max(), query_class.max())) + 1
    )  # (M, k, classes)
    winner = (votes * similarity[..., None]).sum(dim=1).argmax(dim=1)
    return (winner == query_class).float().mean().item()
