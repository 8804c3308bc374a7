"""How the segmentor comes to its result on one image, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...functional.cam import resize
from ...functional.pseudo_label import ClassPacking, likeliest
from ..backbones import Attention
from .pseudo_labeler import Affinity, PseudoLabeler


class CamOutput(NamedTuple):
    """CAMs of a batch with what is needed to spread them.

    Shape:
        cam (B, C, H, W) in [0, 1]; affinity (B, hw, hw) or its factors; grid (h, w).
    """

    cam: Tensor
    affinity: Affinity
    grid: tuple[int, int]

    def select(self, i: int) -> 'CamOutput':
        """Keep one image of the batch."""
        return CamOutput(self.cam[i : i + 1], self.affinity[i : i + 1], self.grid)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The steps between one image and its pseudo-labels, each computed when asked for.

    They are those of training (Ru et al., CVPR 2022): CAMs spread along the affinity of the largest scale, refined,
    fused. Maps have the size (H, W) of the network's input; `to_original` brings them to that of the image file.

    Args:
        labeler: Makes the labels.
        image: RGB in 0..1.
        gt_label: Which classes the image is taken to hold, 1 or 0.
        score: The classifier's probability of each class.
        output: CAMs of all classes, with the affinity of the largest scale.
        plain: The same CAMs, with the affinity of the image as it is, between all cells.
        attentions: Of the last blocks, for the image as it is.
        meta: Meta information of the sample: size of the file, padding, mirroring, `img_box`.

    Shape:
        image (1, 3, H, W); gt_label, score (C,); output, plain and attentions of one image.
    """

    labeler: PseudoLabeler
    image: Tensor
    gt_label: Tensor
    score: Tensor
    output: CamOutput
    plain: CamOutput
    attentions: Sequence[Attention]
    meta: dict

    @property
    def classes(self) -> list[int]:
        """Indices of the foreground classes that the image is taken to hold, 0 being the first one."""
        return self.gt_label.nonzero().flatten().tolist()

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The part of the input that shows real image: top, bottom, left, right."""
        height, width = self.image.shape[-2:]
        top, bottom, left, right = self.meta.get('img_box', (0, height, 0, width))
        return top, bottom, left, right

    def with_classes(self, classes: Sequence[int]) -> 'Explanation':
        """Take the image to hold other foreground classes.

        Raises:
            ValueError: An index is out of range.
        """
        count = len(self.gt_label)
        if any(not 0 <= index < count for index in classes):
            raise ValueError(f'classes={list(classes)}: indices of foreground classes go from 0 to {count - 1}')
        gt_label = torch.zeros_like(self.gt_label)
        gt_label[list(classes)] = 1
        return replace(self, gt_label=gt_label)

    def cam(self) -> Tensor:
        """Multi-scale CAMs; (C, H, W) in [0, 1], absent classes 0."""
        return self.output.cam[0] * self.gt_label[:, None, None]

    def propagated(self, bkg_score: float) -> Tensor:
        """CAMs spread along the affinity, with background; (C + 1, H, W), absent classes 0."""
        cam, affinity, grid = self.output
        return self.labeler.propagate(cam, affinity, grid, self.gt_label[None], [bkg_score])[0][0]

    def refined(self, bkg_score: float) -> Tensor:
        """Propagated CAMs after refinement of the whole image; (C + 1, H, W), absent classes 0."""
        cam = self.propagated(bkg_score)
        present = F.pad(self.gt_label, (1, 0), value=1) > 0  # the others cost time and stay 0
        refined = torch.zeros_like(cam)
        refined[present] = self.labeler.refine(self.image, cam[None, present])[0]
        return refined

    def refined_label(self, bkg_score: float) -> Tensor:
        """The likeliest class of each pixel after refinement, background being 0; (H, W)."""
        return likeliest(self.refined(bkg_score)[None])[0]

    def cam_label(self) -> Tensor:
        """Pseudo-label from plain CAMs, which affinity learns from; (H, W) with ignored pixels."""
        classes, output = self._packed()
        label = self.labeler.from_cam(self.image, output.cam, classes.gt_label, self._boxes())
        return classes.unpack(label, self.labeler.ignore_index)[0]

    def pseudo_label(self) -> Tensor:
        """Pseudo-label from propagated CAMs, which segmentation learns from; (H, W) with ignored pixels."""
        classes, output = self._packed()
        label = self.labeler.from_propagated_cam(self.image, *output, classes.gt_label, self._boxes())
        return classes.unpack(label, self.labeler.ignore_index)[0]

    def affinity_of(self, row: float, column: float) -> Tensor:
        """The learned affinity between a pixel of the image file and all cells of the grid; (h, w) in [0, 1]."""
        affinity = self.plain.affinity
        assert isinstance(affinity, Tensor)
        return affinity[0, self.cell_of(row, column)].view(self.plain.grid)

    def attention_of(self, row: float, column: float) -> Tensor:
        """What a pixel of the image file attends to, head by head of the last blocks; (heads, h, w), sum 1 each."""
        cell = self.cell_of(row, column)
        heads = []
        for query, key in self.attentions:
            logits = query[0, :, cell, None] @ key[0].transpose(-2, -1) / query.shape[-1] ** 0.5  # (heads, 1, N)
            heads.append(logits.float().softmax(dim=-1).view(-1, *self.plain.grid))
        return torch.cat(heads)

    def cell_of(self, row: float, column: float) -> int:
        """Number the cell of the grid that shows a pixel of the image file, row by row.

        Raises:
            ValueError: The pixel is outside the image.
        """
        height, width = self.original_size
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f'pixel ({row}, {column}) is outside the image of {height} x {width}')
        row, column = int(row), int(column)
        left, right, top, bottom = _padding(self.meta)
        if self.meta.get('flip', False):
            row, column = (row, width - 1 - column) if _is_horizontal(self.meta) else (height - 1 - row, column)
        input_height, input_width = self.image.shape[-2:]
        y = top + (row + 0.5) / height * (input_height - top - bottom)
        x = left + (column + 0.5) / width * (input_width - left - right)
        rows, columns = self.plain.grid
        return int(y / input_height * rows) * columns + int(x / input_width * columns)

    @property
    def original_size(self) -> tuple[int, int]:
        """Height and width of the image file in pixels."""
        left, right, top, bottom = _padding(self.meta)
        height, width = self.image.shape[-2:]
        return tuple(self.meta.get('ori_shape', (height - top - bottom, width - left - right)))[:2]

    def to_original(self, x: Tensor) -> Tensor:
        """Bring a map (C, H, W) or (H, W) to the size of the image file; see `to_original`."""
        return to_original(x, self.meta) if x.ndim == 3 else to_original(x[None], self.meta)[0]

    def _packed(self) -> tuple[ClassPacking, CamOutput]:
        classes = ClassPacking(self.gt_label[None])
        return classes, self.output._replace(cam=classes.pack(self.output.cam))

    def _boxes(self) -> Tensor:
        return torch.tensor([self.box])


def to_original(x: Tensor, meta: dict) -> Tensor:
    """Cut padding off a map, mirror it back and resize it to the image file's size; labels by nearest.

    Args:
        x: Scores (bilinear) or labels (nearest), told apart by their type.
        meta: Meta information of the sample.

    Shape:
        x (C, H, W); output (C, H', W').
    """
    left, right, top, bottom = _padding(meta)
    x = x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]
    if meta.get('flip', False):
        x = x.flip(-1 if _is_horizontal(meta) else -2)
    size = tuple(meta.get('ori_shape', x.shape[-2:]))[:2]
    if x.is_floating_point():
        return resize(x[None], size)[0]
    return F.interpolate(x[None].float(), size=size, mode='nearest')[0].to(x.dtype)


def _padding(meta: dict) -> tuple[int, int, int, int]:
    """Left, right, top and bottom padding in pixels."""
    return meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))


def _is_horizontal(meta: dict) -> bool:
    return meta.get('flip_direction', 'horizontal') == 'horizontal'
