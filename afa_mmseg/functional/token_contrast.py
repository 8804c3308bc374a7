"""Contrast between patch tokens of one image, and between class tokens of its views."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .affinity import affinity_label

#: Below it the length of a token counts as this.
NORM_EPS = 1e-8
#: Added to the sum over negative views and to the number of positive ones.
CONTRAST_EPS = 1e-4
#: Larger values of tokens are cut off: sums of their products would not be finite in float32.
MAX_VALUE = 1e14


def patch_token_contrast(features: Tensor, label: Tensor, ignore_index: int = 255) -> Tensor:
    """Pull tokens of the same label together and push others apart, by their absolute cosine (Ru et al., CVPR 2023).

    Both kinds of pairs have equal weight and are counted over the whole batch, one added to each count: no pair at
    all returns 0.5. A token and itself are no pair.

    Args:
        features: Patch tokens on their grid.
        label: Class index of each token, background 0 included.
        ignore_index: Label of tokens to leave out.

    Shape:
        features (B, D, h, w); label (B, h, w); output scalar.

    Raises:
        ValueError: The two are not maps of the same cells.
    """
    if features.shape[:1] + features.shape[2:] != label.shape:
        raise ValueError(
            f'features (B, D, h, w) and label (B, h, w) differ: {tuple(features.shape)}, {tuple(label.shape)}'
        )
    tokens = F.normalize(features.float().flatten(2), dim=1, eps=NORM_EPS)  # (B, D, hw)
    similarity = (tokens.transpose(1, 2) @ tokens).abs()
    target = patch_pairs(label, ignore_index)
    positive, negative = (target == 1), (target == 0)
    pull = (similarity * positive).sum() / (positive.sum() + 1)
    push = (similarity * negative).sum() / (negative.sum() + 1)
    return 0.5 * (1 - pull) + 0.5 * push


def patch_pairs(label: Tensor, ignore_index: int = 255) -> Tensor:
    """Compare the labels of each two different cells of an image: 1 same, 0 different.

    Shape:
        label (B, h, w); output int64 (B, hw, hw), `ignore_index` where a cell is undecided, and on the diagonal.
    """
    cells = label.shape[-2] * label.shape[-1]
    pairs = ~torch.eye(cells, dtype=torch.bool, device=label.device)
    return affinity_label(label, pairs, ignore_index)


def class_token_contrast(student: Tensor, teacher: Tensor, flags: Tensor, temperature: float = 0.5) -> Tensor:
    """Pull class tokens of positive views to the teacher's and push those of negative ones away (Ru et al., CVPR 2023).

    Similarities are plain dot products over the temperature; sums of exponentials are taken as logarithms, so that
    the loss is finite whatever the tokens' lengths.

    Args:
        student: Projected class tokens of all views, view by view: row k B + i is view k of image i.
        teacher: The same of the views that the averaged projection head has seen.
        flags: 1 where a view shows what its image does (the whole views among them), 0 where it shows background.
        temperature: Divisor of similarities.

    Shape:
        student (K B, D); teacher (G B, D); flags (B, K); output scalar.

    Raises:
        ValueError: The numbers of rows are no multiples of the number of images, or not K times it.
    """
    batch, views = flags.shape
    if len(student) != views * batch or len(teacher) % batch:
        raise ValueError(
            f'flags {tuple(flags.shape)} need {views * batch} student rows and a multiple of {batch} teacher rows, '
            f'got {len(student)} and {len(teacher)}'
        )
    student, teacher = (tokens.float().clamp(-MAX_VALUE, MAX_VALUE) for tokens in (student, teacher))
    student, teacher = student.unflatten(0, (views, batch)), teacher.unflatten(0, (-1, batch))
    logits = torch.einsum('gbd,kbd->gbk', teacher, student) / temperature
    positive = flags.bool()
    against = logits.masked_fill(positive, -math.inf)
    against = F.pad(against, (0, 1), value=math.log(CONTRAST_EPS)).logsumexp(dim=-1, keepdim=True)  # (G, B, 1)
    pull = (F.softplus(against - logits) * positive).sum(dim=-1)  # (G, B)
    push = F.softplus(against[..., 0])
    count = len(teacher) * (positive.sum(dim=-1) + CONTRAST_EPS)  # (B,)
    return ((pull + push).sum(dim=0) / count).mean()
