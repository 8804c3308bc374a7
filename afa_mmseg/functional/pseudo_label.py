"""From CAMs to pseudo-labels: refinement inside the image box, thresholds, fusion."""

from collections.abc import Sequence
from functools import partial
from typing import Callable, NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .affinity import add_background
from .cam import resize
from .neighbours import resize_to_image

#: RGB (B, 3, H, W) in 0..1 and scores (B, C, h, w) -> refined scores (B, C, H, W). Where classes compete for a
#: pixel it has a true attribute `couples_classes`, and the scores of each background score are refined apart.
Refine = Callable[[Tensor, Tensor], Tensor]

#: Background scores of the low and the high label map; between them a pixel is undecided.
BACKGROUND_SCORES = (0.35, 0.55)


def denormalize(image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Undo normalisation, truncate to whole pixel values as a cast to uint8 does, and scale to 0..1.

    Shape:
        image (B, 3, H, W); mean and std (3, 1, 1) in pixel values; output (B, 3, H, W).
    """
    return pixel_values(image, mean, std).clamp(0, 255).floor() / 255


def pixel_values(image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Undo normalisation, to RGB in 0..255 without truncation.

    Shape:
        image (B, 3, H, W); mean and std (3, 1, 1) in pixel values; output (B, 3, H, W).
    """
    return image.float() * std + mean


def fuse_labels(low: Tensor, high: Tensor, boxes: Optional[Tensor] = None, ignore_index: int = 255) -> Tensor:
    """Fuse the labels of a low and a high background score into one with an undecided band (Ru et al., CVPR 2022).

    The high score's label; where that is background, `ignore_index`, or background where the low score's
    is background as well. Outside the box: `ignore_index`.

    Args:
        low: Label map of the low background score.
        high: Label map of the high background score.
        boxes: The part of each crop that shows real image, as top, bottom, left, right (bottom and right
            excluded); may reach beyond the crop. None: all of it. Best on the CPU: a GPU would be waited for.
        ignore_index: Label of undecided pixels.

    Shape:
        low, high (B, H, W); boxes (B, 4); output (B, H, W).

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> fuse_labels(torch.tensor([[[0, 3, 3]]]), torch.tensor([[[0, 0, 3]]])).tolist()
        [[[0, 255, 3]]]
    """
    if low.shape != high.shape or (boxes is not None and tuple(boxes.shape) != (len(low), 4)):
        raise ValueError(
            f'low and high must be (B, H, W) alike and boxes (B, 4), got {tuple(low.shape)}, {tuple(high.shape)} '
            f'and {None if boxes is None else tuple(boxes.shape)}'
        )
    fused = torch.where((high == 0) & (low != 0), ignore_index, high)
    if boxes is None or _are_whole(boxes, *low.shape[-2:]):
        return fused
    result = torch.full_like(fused, ignore_index)
    for i, box in enumerate(boxes.tolist()):
        rows, columns = _window(box, *low.shape[-2:])
        result[i, rows, columns] = fused[i, rows, columns]
    return result


def likeliest(scores: Tensor) -> Tensor:
    """Return the class of the highest score at each pixel, the first of equal ones; (B, C, H, W) -> int64 (B, H, W)."""
    return scores.max(dim=1).indices  # on a CPU several times as fast as argmax


def inside_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Mark the pixels inside each box.

    Shape:
        boxes (B, 4) as top, bottom, left, right; output bool (B, H, W).
    """
    top, bottom, left, right = boxes.long()[:, :, None].unbind(1)  # 4 x (B, 1)
    rows, columns = (torch.arange(size, device=boxes.device) for size in (height, width))
    return ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]


class ScoreStack(NamedTuple):
    """Class scores before refinement, one set of channels for each background score.

    Args:
        scores: Background first in each set, absent classes 0.
        in_boxes: Refine inside the boxes of the images only; needs scores of the image's size. Else whole images.

    Shape:
        scores (B, n (C + 1), h, w) for n background scores.
    """

    scores: Tensor
    in_boxes: bool = True


def cam_scores(cam: Tensor, gt_label: Tensor, bkg_scores: Sequence[float] = BACKGROUND_SCORES) -> ScoreStack:
    """Compute scores from plain CAMs: half size, then softmax against each background score.

    Shape:
        cam (B, C, H, W) in [0, 1]; gt_label (B, C); output scores (B, len(bkg_scores) (C + 1), H // 2, W // 2).
    """
    half = halve(cam)
    return ScoreStack(torch.cat([add_background(half, gt_label, score) for score in bkg_scores], dim=1), in_boxes=False)


def refine_and_fuse(
    refine: Refine,
    image: Tensor,
    stacks: Sequence[ScoreStack],
    boxes: Optional[Tensor] = None,
    ignore_index: int = 255,
) -> list[Tensor]:
    """Turn scores of a low and a high background score into pseudo-labels: refinement at half size, fusion.

    Several stacks are refined in one call, so that all share one kernel, where the boxes are all of their crops
    and classes do not compete.

    Args:
        refine: Smooths scores along image edges.
        image: RGB in 0..1.
        stacks: Each holds the scores of the low background score, then those of the high one.
        boxes: See `fuse_labels`.
        ignore_index: Label of undecided pixels.

    Shape:
        image (B, 3, H, W); stacks (B, 2 (C + 1), h, w); boxes (B, 4); outputs int64 (B, H, W), one for each stack.
    """
    whole = boxes is None or _are_whole(boxes, *image.shape[-2:])
    if len(stacks) > 1 and whole and not _couples(refine):
        half = halve(image)
        scores = [resize_to_image(half, stack.scores)[1] for stack in stacks]  # as a refiner does it
        refined = resize(refine(half, torch.cat(scores, dim=1)), image.shape[-2:])
        parts = list(refined.split([x.shape[1] for x in scores], dim=1))
    else:
        pairwise = partial(_refine_pair, refine)
        parts = [refine_in_boxes(pairwise, image, scores, boxes if in_boxes else None) for scores, in_boxes in stacks]
    pairs = [part.chunk(2, dim=1) for part in parts]
    return [fuse_labels(likeliest(low), likeliest(high), boxes, ignore_index) for low, high in pairs]


def _couples(refine: Refine) -> bool:
    return getattr(refine, 'couples_classes', False)


def _refine_pair(refine: Refine, image: Tensor, stack: Tensor) -> Tensor:
    """Refine the scores of two background scores, stacked along the channels (B, 2 C, h, w), in one go if possible."""
    if _couples(refine):
        return torch.cat([refine(image, scores) for scores in stack.chunk(2, dim=1)], dim=1)
    return refine(image, stack)


def refine_in_boxes(refine: Refine, image: Tensor, cam: Tensor, boxes: Optional[Tensor] = None) -> Tensor:
    """Refine all channels inside each image's box at half size, back to full size, 0 outside.

    Images whose boxes have the same size go through `refine` together.

    Shape:
        image (B, 3, H, W); cam (B, C, H, W), without boxes of any size; boxes (B, 4); output (B, C, H, W).

    Raises:
        ValueError: There are boxes, and `cam` has another size than the image.
    """
    height, width = image.shape[-2:]
    if boxes is None or _are_whole(boxes, height, width):
        return resize(refine(halve(image), cam), (height, width))
    if cam.shape[-2:] != (height, width):
        raise ValueError(
            f'scores of {cam.shape[-2]} x {cam.shape[-1]} cannot be refined in boxes of images of {height} x {width}: '
            'return ScoreStack(scores, in_boxes=False), or scores of the size of the image'
        )
    out = torch.zeros_like(cam)
    for members, windows in _group_by_box_size(boxes, height, width):
        crops = [torch.stack([x[i][:, w[0], w[1]] for i, w in zip(members, windows)]) for x in (image, cam)]
        refined = resize(refine(halve(crops[0]), crops[1]), crops[0].shape[-2:])
        for i, (rows, columns), crop in zip(members, windows, refined):
            out[i, :, rows, columns] = crop
    return out


class ClassPacking:
    """Renumbers the classes of each image from 1 to K, so that maps need K channels instead of C.

    K is the largest number of classes that one image of the batch holds: later steps then cost
    as much as an image has classes, not the data set. Background stays 0; images with fewer classes have absent ones.

    Args:
        gt_label: Which classes the image holds, 1 or 0; (B, C).
        most: K, if known; counting on a GPU would wait for it.
    """

    def __init__(self, gt_label: Tensor, most: Optional[int] = None) -> None:
        present = gt_label != 0
        most = max(int(present.sum(dim=1).max()) if most is None else most, 1)
        self._classes = present.byte().argsort(dim=1, descending=True, stable=True)[:, :most]  # (B, K)
        self.gt_label = gt_label.gather(1, self._classes)  # (B, K)

    def pack(self, cam: Tensor) -> Tensor:
        """Keep the maps of present classes, of n versions of the batch; (n B, C, H, W) to (n B, K, H, W)."""
        classes = self._classes.repeat(len(cam) // len(self._classes), 1)[..., None, None]
        return cam.gather(1, classes.expand(-1, -1, *cam.shape[-2:]))

    def unpack(self, label: Tensor, ignore_index: int = 255) -> Tensor:
        """Restore the original class numbers of a label map; (B, H, W) -> (B, H, W)."""
        names = F.pad(self._classes + 1, (1, 0), value=0)  # (B, K + 1), background first
        ignored = label == ignore_index
        index = label.masked_fill(ignored, 0).flatten(1)
        return names.gather(1, index).view_as(label).masked_fill(ignored, ignore_index)


def halve(image: Tensor) -> Tensor:
    """Resize images or scores to half the size, rounded down, bilinearly.

    Shape:
        image (B, C, H, W); output (B, C, H // 2, W // 2), at least one pixel.
    """
    height, width = image.shape[-2:]
    return resize(image, (max(height // 2, 1), max(width // 2, 1)))


Window = tuple[slice, slice]


def _are_whole(boxes: Tensor, height: int, width: int) -> bool:
    """Whether each box holds all of its crop."""
    whole = (slice(0, height), slice(0, width))
    return all(_window(box, height, width) == whole for box in boxes.tolist())


def _window(box: Sequence[float], height: int, width: int) -> Window:
    """Return the rows and columns of a box, clamped to the crop; slices of nothing where it is empty."""
    top, bottom, left, right = (max(int(side), 0) for side in box)
    return slice(top, min(bottom, height)), slice(left, min(right, width))


def _group_by_box_size(boxes: Tensor, height: int, width: int) -> list[tuple[list[int], list[Window]]]:
    """Group the images of a batch by the size of their boxes, clamped to the crop; empty boxes are left out."""
    groups: dict[tuple[int, int], tuple[list[int], list[Window]]] = {}
    for i, box in enumerate(boxes.tolist()):
        window = _window(box, height, width)
        rows, columns = (side.stop - side.start for side in window)
        if rows > 0 and columns > 0:
            members, windows = groups.setdefault((rows, columns), ([], []))
            members.append(i)
            windows.append(window)
    return list(groups.values())
