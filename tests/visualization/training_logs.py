"""Logs as mmengine and mmseg write them, with made-up numbers."""

import json
import math

from prettytable import PrettyTable

STAMP = '20260101_120000'
PREFIX = '2026/01/01 12:00:00 - mmengine - INFO - '


def training(steps, loss=lambda step: 1 / step):
    """Lines of training."""
    return [dict(lr=1e-4, loss=loss(step), loss_cls=loss(step) / 2, time=0.1, iter=step, step=step) for step in steps]


def validation(step, **class_iou):
    """A line of validation and what the text log says besides: a table for segmentation after one for CAMs."""
    known = [value for value in class_iou.values() if not math.isnan(value)]
    figures = {'cam/mIoU': 7.0, 'mIoU': round(sum(known) / len(known), 2)}
    tables = []
    for values in ([7.0] * len(class_iou), class_iou.values()):
        table = PrettyTable()
        table.add_column('Class', list(class_iou))
        table.add_column('IoU', list(values))
        table.add_column('Acc', [50.0] * len(class_iou))
        tables += [f'{PREFIX}per class results:', PREFIX, table.get_string()]
    line = f'{PREFIX}Iter(val) [9/9]    cam/mIoU: 7.0  mIoU: {figures["mIoU"]:.4f}'
    return {**figures, 'cls/f1': 90.0, 'time': 0.1, 'step': step}, '\n'.join([*tables, line])


def write_log(work_dir, records, texts=(), stamp=STAMP):
    """Write JSON log and text log of one part of a training; return the former."""
    folder = work_dir / stamp
    (folder / 'vis_data').mkdir(parents=True)
    (folder / f'{stamp}.log').write_text('\n'.join([f'{PREFIX}started', *texts]) + '\n', encoding='utf-8')
    file = folder / 'vis_data/scalars.json'
    file.write_text(''.join(json.dumps(record) + '\n' for record in records), encoding='utf-8')
    return file


def write_run(work_dir, num_steps=40, **class_iou):
    """Write the logs of a training with one validation in its middle, and one at its end, which is better."""
    half, text = validation(num_steps // 2, **{name: value / 2 for name, value in class_iou.items()})
    last, last_text = validation(num_steps, **class_iou)
    lines = training(range(1, num_steps + 1))
    write_log(work_dir, [*lines[: num_steps // 2], half, *lines[num_steps // 2 :], last], [text, last_text])
    return work_dir
