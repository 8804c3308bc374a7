"""The steps between one image and its pseudo-labels, each computed on request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from ...functional.cam import resize
from ...functional.pseudo_label import ClassPacking, fuse_labels, likeliest
from ..backbones import Attention
from ..pseudo_labelers import CamOutput, PseudoLabeler


@dataclass(frozen=True, eq=False)
class Explanation:
    """The steps between one image and its pseudo-labels, each computed on request.

    They are those of training: CAMs, propagated along the affinity of the largest scale where the method has one,
    refined, fused. Maps have the size (H, W) of the network's input; `to_original` resizes them to that of the
    image file.

    Args:
        labeler: The pseudo-label rule.
        image: RGB in 0..1.
        gt_label: Which classes the image is assumed to hold, 1 or 0.
        score: The classifier's probability of each class.
        output: CAMs of all classes, with the affinity of the largest scale.
        source: Those that pseudo-labels are made from: `output`, or those of another classifier.
        plain: The same CAMs, with the affinity of the image as it is, between all cells.
        attentions: Of the last blocks, for the image as it is; empty where the backbone exposes none.
        meta: Meta information of the sample: size of the file, padding, mirroring, `img_box`.

    Shape:
        image (1, 3, H, W); gt_label, score (C,); output, source, plain and attentions of one image.
    """

    labeler: PseudoLabeler
    image: Tensor
    gt_label: Tensor
    score: Tensor
    output: CamOutput
    source: CamOutput
    plain: CamOutput
    attentions: Sequence[Attention]
    meta: dict

    @property
    def has_affinity(self) -> bool:
        """Whether the method has an affinity: `propagated` and `affinity_of` need it."""
        return self.plain.affinity is not None

    @property
    def has_attention(self) -> bool:
        """Whether the backbone exposes its attention: `attention_of` needs it."""
        return len(self.attentions) > 0

    @property
    def classes(self) -> list[int]:
        """Indices of the foreground classes that the image is assumed to hold, from 0."""
        return self.gt_label.nonzero().flatten().tolist()

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The part of the input that shows real image: top, bottom, left, right."""
        height, width = self.image.shape[-2:]
        top, bottom, left, right = self.meta.get('img_box', (0, height, 0, width))
        return top, bottom, left, right

    def with_classes(self, classes: Sequence[int]) -> 'Explanation':
        """Return the steps for other foreground classes.

        Raises:
            ValueError: An index is out of range.
        """
        count = len(self.gt_label)
        if any(not 0 <= index < count for index in classes):
            raise ValueError(f'classes={list(classes)}: indices of foreground classes are 0 to {count - 1}')
        gt_label = torch.zeros_like(self.gt_label)
        gt_label[list(classes)] = 1
        return replace(self, gt_label=gt_label)

    def cam(self) -> Tensor:
        """Multi-scale CAMs; (C, H, W) in [0, 1], absent classes 0."""
        return self.output.cam[0] * self.gt_label[:, None, None]

    def propagated(self, bkg_score: float) -> Tensor:
        """CAMs propagated along the affinity, with background; (C + 1, H, W), absent classes 0.

        Raises:
            ValueError: The method has no affinity.
        """
        self._require_affinity()
        return self.labeler.propagate(self.output, self.gt_label[None], [bkg_score])[0]

    def refined(self, bkg_score: float) -> Tensor:
        """The rule's scores after refinement of the whole image, with background; (C + 1, H, W), absent classes 0."""
        return self._refined(bkg_score, None)

    def refined_label(self, bkg_score: float) -> Tensor:
        """The class of the highest score of each pixel after refinement, 0 the background; (H, W)."""
        return likeliest(self.refined(bkg_score)[None])[0]

    def label_at(self, bkg_score: float) -> Tensor:
        """The label of one background score, before `pseudo_label` fuses two; (H, W), ignored outside the box."""
        label = likeliest(self._refined(bkg_score, self._boxes())[None])
        return fuse_labels(label, label, self._boxes(), self.labeler.ignore_index)[0]

    def cam_label(self) -> Tensor:
        """Pseudo-label from plain CAMs; (H, W) with ignored pixels."""
        return self._label(self.labeler.cam_label)

    def pseudo_label(self) -> Tensor:
        """The rule's pseudo-label, which segmentation learns from; (H, W) with ignored pixels."""
        return self._label(self.labeler.label)

    def affinity_of(self, row: float, column: float) -> Tensor:
        """The learned affinity between a pixel of the image file and all cells of the grid; (h, w) in [0, 1].

        Raises:
            ValueError: The method has no affinity, or the pixel is outside the image.
        """
        affinity = self._require_affinity()
        return affinity[0, self.cell_of(row, column)].view(self.plain.grid)

    def attention_of(self, row: float, column: float) -> Tensor:
        """The attention of a pixel of the image file to all cells, head by head; (heads, h, w), sum 1 each.

        Raises:
            ValueError: The backbone exposes no attention, or the pixel is outside the image.
        """
        if not self.has_attention:
            raise ValueError('this backbone exposes no attention: attention_of() needs one that does (has_attention)')
        cell = self.cell_of(row, column)
        return torch.cat([x.weights_of(cell) for x in self.attentions]).view(-1, *self.plain.grid)

    def cell_of(self, row: float, column: float) -> int:
        """Return the number of the grid cell that shows a pixel of the image file, counted row by row.

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
        """Resize a map (C, H, W) or (H, W) to the size of the image file; see `to_original`."""
        return to_original(x, self.meta) if x.ndim == 3 else to_original(x[None], self.meta)[0]

    def _require_affinity(self) -> Tensor:
        if self.plain.affinity is None:
            raise ValueError(
                'this method has no affinity: propagated() and affinity_of() need one (has_affinity); cam(), refined() '
                'and pseudo_label() do not'
            )
        assert isinstance(self.plain.affinity, Tensor)
        return self.plain.affinity

    def _packed(self) -> tuple[ClassPacking, CamOutput]:
        """Keep the present classes only: the others cost time and stay 0."""
        classes = ClassPacking(self.gt_label[None])
        return classes, self.source.pack(classes)

    def _label(self, rule: Callable[..., Tensor]) -> Tensor:
        classes, output = self._packed()
        label = rule(self.image, output, classes.gt_label, self._boxes())
        return classes.unpack(label, self.labeler.ignore_index)[0]

    def _refined(self, bkg_score: float, boxes: Optional[Tensor]) -> Tensor:
        classes, output = self._packed()
        scores = self.labeler.refined(self.image, output, classes.gt_label, bkg_score, boxes)[0]
        refined = scores.new_zeros(len(self.gt_label) + 1, *scores.shape[1:])
        refined[[0, *(i + 1 for i in self.classes or [0])]] = scores
        return refined

    def _boxes(self) -> Tensor:
        return torch.tensor([self.box])


def to_original(x: Tensor, meta: dict) -> Tensor:
    """Crop the padding off a map, undo mirroring and resize it to the image file's size.

    Args:
        x: Scores (resized bilinearly) or labels of an integer type (nearest).
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
