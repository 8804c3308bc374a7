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
from .confusion import Confusion


class Counts(NamedTuple):
    """Pixels of a label map.

    Args:
        confusion: With the mask; None without one.
        ignored: Ignored pixels of the label map, wherever the mask is known or not.
        total: All of its pixels.
    """

    confusion: Optional[Confusion]
    ignored: int
    total: int


def judge_labels(
    files: Sequence[Path], infos: Sequence[dict], classes: Sequence[str], num_workers: Optional[int] = None
) -> dict[str, Any]:
    """Compare label maps with the masks of their images, pooled over all images that have one.

    IoU comes in two kinds: ignored pixels count as wrong, or are left out.

    Args:
        files: Label maps, 255 where pixels are ignored.
        infos: The data set's record of each image; `seg_map_path` names its mask, if there is any.
        classes: Names, background first.
        num_workers: See `run_parallel`.

    Returns:
        JSON values: numbers of `images` and of those `with_mask`; in percent: share of `ignored` pixels, and if
        there are masks `mIoU`, `mIoU_decided` and both of each class in `classes`, None where there is no pixel.

    Raises:
        ValueError: A file cannot be read, has another size than its mask, or holds a value that is no class.
    """
    pairs = list(zip(files, infos))
    results = run_parallel(partial(measure, num_classes=len(classes)), pairs, 'Comparison with masks', num_workers)
    total = sum(result.total for result in results)
    confusions = [result.confusion for result in results if result.confusion is not None]
    report: dict[str, Any] = dict(
        images=len(results),
        with_mask=len(confusions),
        ignored=round(100 * sum(result.ignored for result in results) / total, 2) if total else None,
    )
    if confusions:
        pooled = Confusion(len(classes))
        pooled.counts = np.sum([confusion.counts for confusion in confusions], axis=0)
        kinds = dict(IoU=pooled.iou_of_all, IoU_decided=pooled.iou)
        report.update({f'm{name}': _rounded(_mean(values)) for name, values in kinds.items()})
        report['classes'] = {
            title: {name: _rounded(values[i]) for name, values in kinds.items()} for i, title in enumerate(classes)
        }
    return report


def measure(pair: tuple[Path, dict], num_classes: int) -> Counts:
    """Count the pixels of one label map and its mask."""
    file, info = pair
    label = read_mask(file)
    confusion = None
    if info.get('seg_map_path') and fileio.exists(info['seg_map_path']):
        mask = LoadMask()(dict(info, seg_fields=[]))['gt_seg_map']
        confusion = Confusion(num_classes)
        try:
            confusion.add(label, mask)
        except ValueError as error:
            raise ValueError(f'{file} does not fit {info["seg_map_path"]}: {error}') from None
    return Counts(confusion, int((label == IGNORE_INDEX).sum()), label.size)


def format_report(report: dict[str, Any]) -> str:
    """Lay out the report of `judge_labels` as a table, a row for each class, and a line below it."""
    lines = []
    if report['with_mask']:
        table = PrettyTable(['class', 'IoU', 'IoU of decided pixels'])
        table.align, table.align['class'] = 'r', 'l'
        rows = {name: tuple(values.values()) for name, values in report['classes'].items()}
        for name, values in {**rows, 'mean': (report['mIoU'], report['mIoU_decided'])}.items():
            table.add_row([name, *('-' if value is None else f'{value:.2f}' for value in values)])
        lines.append(table.get_string())
    ignored = '' if report['ignored'] is None else f'; {report["ignored"]:.1f} % of the pixels are ignored'
    lines.append(f'{report["images"]} images, {report["with_mask"]} with a mask{ignored}')
    return '\n'.join(lines)


def _mean(values: np.ndarray) -> float:
    return float('nan') if np.isnan(values).all() else float(np.nanmean(values))


def _rounded(value: float) -> Optional[float]:
    return None if np.isnan(value) else round(float(value), 2)
