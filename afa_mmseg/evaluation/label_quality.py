"""mIoU of label maps in files, compared with masks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
from mmengine import fileio
from prettytable import PrettyTable

from ..datasets.transforms import LoadMask
from ..utils import IGNORE_INDEX, read_mask, run_parallel


class Areas(NamedTuple):
    """Pixels of each class: intersection and union of labels and masks, everywhere and where labels are sure.

    Args:
        areas: None without a mask.
        unsure: Ignored pixels of the label map.
        total: All of its pixels.

    Shape:
        areas (4, C).
    """

    areas: Optional[np.ndarray]
    unsure: int
    total: int


def judge_labels(
    files: Sequence[Path], infos: Sequence[dict], classes: Sequence[str], num_workers: Optional[int] = None
) -> dict[str, Any]:
    """Compare label maps with the masks of their images, pooled over all images that have one.

    IoU comes in two kinds: unsure pixels count as wrong, or are left out.

    Args:
        files: Label maps, 255 where they are unsure.
        infos: The data set's record of each image; `seg_map_path` names its mask, if there is any.
        classes: Names, background first.
        num_workers: See `run_parallel`.

    Returns:
        JSON values: numbers of `images` and of those `with_mask`; in percent: share of `unsure` pixels, and if
        there are masks `mIoU`, `mIoU_where_sure` and both of each class in `classes`, None where there is no pixel.

    Raises:
        ValueError: A file cannot be read, or has another size than its mask.
    """
    pairs = list(zip(files, infos))
    results = run_parallel(partial(measure, num_classes=len(classes)), pairs, 'Comparison with masks', num_workers)
    report: dict[str, Any] = dict(
        images=len(results),
        with_mask=sum(result.areas is not None for result in results),
        unsure=_rounded(_percent(sum(result.unsure for result in results), sum(result.total for result in results))),
    )
    if report['with_mask']:
        areas = np.sum([result.areas for result in results if result.areas is not None], axis=0)
        kinds = {name: list(map(_percent, *areas[i : i + 2])) for name, i in (('IoU', 0), ('IoU_where_sure', 2))}
        report.update({f'm{name}': _rounded(_mean(values)) for name, values in kinds.items()})
        report['classes'] = {
            title: {name: _rounded(values[i]) for name, values in kinds.items()} for i, title in enumerate(classes)
        }
    return report


def measure(pair: tuple[Path, dict], num_classes: int) -> Areas:
    """Count the pixels of one label map and its mask."""
    file, info = pair
    label = read_mask(file)
    unsure = label == IGNORE_INDEX
    areas = None
    if info.get('seg_map_path') and fileio.exists(info['seg_map_path']):
        mask = LoadMask()(dict(info, seg_fields=[]))['gt_seg_map']
        if mask.shape != label.shape:
            raise ValueError(f'{file} has the size {label.shape}, its mask {info["seg_map_path"]} {mask.shape}')
        sure = np.where(unsure, IGNORE_INDEX, mask)
        areas = np.concatenate([_intersection_and_union(label, truth, num_classes) for truth in (mask, sure)])
    return Areas(areas, int(unsure.sum()), label.size)


def format_report(report: dict[str, Any]) -> str:
    """Lay out the report of `judge_labels` as a table, a row for each class, and a line below it."""
    lines = []
    if report['with_mask']:
        table = PrettyTable(['class', 'IoU', 'IoU where sure'])
        table.align, table.align['class'] = 'r', 'l'
        rows = {name: tuple(values.values()) for name, values in report['classes'].items()}
        for name, values in {**rows, 'mean': (report['mIoU'], report['mIoU_where_sure'])}.items():
            table.add_row([name, *('-' if value is None else f'{value:.2f}' for value in values)])
        lines.append(table.get_string())
    unsure = '' if report['unsure'] is None else f'; {report["unsure"]:.1f} % of the pixels are unsure'
    lines.append(f'{report["images"]} images, {report["with_mask"]} with a mask{unsure}')
    return '\n'.join(lines)


def _intersection_and_union(label: np.ndarray, mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Count by numpy alone: threads of PyTorch do not survive in a process that was forked."""
    known = mask != IGNORE_INDEX
    parts = (label[known & (label == mask)], label[known], mask[known])
    both, labelled, true = (np.bincount(part, minlength=256)[:num_classes] for part in parts)
    return np.stack([both, labelled + true - both])


def _percent(part: float, whole: float) -> Optional[float]:
    return 100 * float(part) / float(whole) if whole else None


def _mean(values: Sequence[Optional[float]]) -> Optional[float]:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(value, 2)
