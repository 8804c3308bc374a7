"""Logs as mmengine writes them, with made-up numbers."""

import json

STAMP = '20260101_120000'


def training(steps, loss=lambda step: 1 / step):
    """Lines of training."""
    return [dict(lr=1e-4, loss=loss(step), loss_cls=loss(step) / 2, time=0.1, iter=step, step=step) for step in steps]


def validation(step, miou):
    """Return a line of validation."""
    return {'cam/mIoU': 7.0, 'mIoU': miou, 'cls/f1': 90.0, 'time': 0.1, 'step': step}


def write_log(work_dir, records, stamp=STAMP):
    """Write the log of one part of a run; return the file."""
    file = work_dir / stamp / 'vis_data/scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text(''.join(json.dumps(record) + '\n' for record in records), encoding='utf-8')
    return file


def write_run(work_dir, num_steps=40):
    """Write the log of a run with a validation in its middle, and a better one at its end; return the folder."""
    half, lines = num_steps // 2, training(range(1, num_steps + 1))
    write_log(work_dir, [*lines[:half], validation(half, 30.0), *lines[half:], validation(num_steps, 60.0)])
    return work_dir
