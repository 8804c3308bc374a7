"""Confusion matrix of classes, pooled over many label maps."""

from typing import Optional, Union

import numpy as np
from torch import Tensor


class Confusion:
    """Count the pixels of each pair of true and predicted class, pooled over all label maps.

    Args:
        num_classes: Classes with background, which is 0.
        ignore_index: Value of pixels without class: they do not count in masks, and are counted apart in labels.

    Example:
        >>> confusion = Confusion(num_classes=2)
        >>> confusion.add(np.array([[0, 1, 255]]), np.array([[0, 0, 1]]))
        >>> confusion.mean_iou, confusion.ignored  # the third pixel is ignored: it lowers no IoU
        (25.0, 0.3333333333333333)
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def add(
        self, label: Union[np.ndarray, Tensor], mask: Union[np.ndarray, Tensor], where: Optional[np.ndarray] = None
    ) -> None:
        """Count the pixels of a label map against its mask.

        Args:
            label: Predicted classes.
            mask: True classes.
            where: Pixels to count; by default all.

        Shape:
            All (H, W).

        Raises:
            ValueError: The shapes differ, or a value is no class.
        """
        label, mask = (np.asarray(x.cpu() if isinstance(x, Tensor) else x).astype(np.int64) for x in (label, mask))
        if label.shape != mask.shape:
            raise ValueError(f'a label map of shape {label.shape} does not fit a mask of shape {mask.shape}')
        for name, x in (('label', label), ('mask', mask)):
            wrong = x[(x != self.ignore_index) & ((x < 0) | (x >= self.num_classes))]
            if wrong.size:
                raise ValueError(
                    f'{name} holds {wrong[0]}: classes are 0 to {self.num_classes - 1}, or {self.ignore_index}'
                )
        counted = mask != self.ignore_index
        if where is not None:
            counted &= where
        label = np.where(label == self.ignore_index, self.num_classes, label)
        pairs = mask[counted] * (self.num_classes + 1) + label[counted]
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def decided(self) -> np.ndarray:
        """Pixels that are not ignored; (C, C), rows the true class."""
        return self.counts[:, : self.num_classes]

    @property
    def iou(self) -> np.ndarray:
        """IoU of each class over decided pixels in percent, NaN without a pixel; (C,)."""
        return self._iou(self.decided)

    @property
    def iou_of_all(self) -> np.ndarray:
        """IoU of each class in percent where ignored pixels count as wrong, NaN without a pixel; (C,)."""
        return self._iou(self.counts)

    def _iou(self, counts: np.ndarray) -> np.ndarray:
        both = np.diag(self.decided)
        with np.errstate(invalid='ignore'):
            return 100 * both / (self.decided.sum(axis=0) + counts.sum(axis=1) - both)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over classes with a pixel."""
        return float(np.nanmean(self.iou)) if self.decided.any() else float('nan')

    @property
    def ignored(self) -> float:
        """Share of ignored pixels."""
        return float(self.counts[:, -1].sum() / max(self.counts.sum(), 1))

    @property
    def errors(self) -> dict[str, float]:
        """Shares of all pixels: foreground taken for background, the reverse, one class for another."""
        counts, total = self.decided, max(self.counts.sum(), 1)
        between = counts[1:, 1:].sum() - np.trace(counts[1:, 1:])
        found = {
            'foreground as background': counts[1:, 0].sum(),
            'background as foreground': counts[0, 1:].sum(),
            'one class as another': between,
        }
        return {name: float(count / total) for name, count in found.items()}

    @property
    def foreground(self) -> tuple[float, float]:
        """Precision and recall of foreground classes over pixels; an ignored pixel counts as missed."""
        right = np.trace(self.decided[1:, 1:])
        return float(right / max(self.decided[:, 1:].sum(), 1)), float(right / max(self.counts[1:].sum(), 1))
