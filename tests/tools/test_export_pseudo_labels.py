"""tools/export_pseudo_labels.py as a user runs it: interrupted, killed, resumed; and the second stage on its files."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from afa_mmseg.apis import export_pseudo_labels
from afa_mmseg.utils import read_mask
from tests.apis.small_run import write_small_run
from tests.tools.toolbox import REPO, run_tool, tool_environment
from tests.utils.processes import is_running, wait_for

SCRIPT = 'export_pseudo_labels.py'
NUM_IMAGES = 120


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A folder with a config, a checkpoint, and more images than are labelled before a signal arrives."""
    folder = tmp_path_factory.mktemp('run')
    write_small_run(folder, NUM_IMAGES)
    return folder


def count(folder):
    return len(list(folder.glob('[!.]*.png')))


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        return [int(child) for child in file.read().split()]


def stop_half_way(folder, number):
    """Start the command with two processes, send the main one a signal once it has written some files."""
    out = folder / 'labels'
    enough = count(out) + 3
    process = subprocess.Popen(
        [sys.executable, REPO / 'tools' / SCRIPT, 'small.py', 'small.pth', '--out', out, '--procs', '2'],
        cwd=folder,
        env=tool_environment(OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: count(out) >= enough or process.poll() is not None, seconds=240)
    workers = children(process.pid)
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=120)
    assert enough <= count(out) < NUM_IMAGES, output
    wait_for(lambda: not any(map(is_running, workers)), seconds=60)
    return process.returncode, output, workers


@pytest.mark.slow
def test_interrupted_and_killed_exports_resume_to_the_files_of_a_whole_one(run):
    code, output, workers = stop_half_way(run, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, output
    assert 'Traceback' not in output
    code, output, workers = stop_half_way(run, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert len(workers) >= 2
    here = count(run / 'labels')

    output = run_tool(
        SCRIPT, 'small.py', 'small.pth', '--out', 'labels', '--procs', 0, cwd=run, OMP_NUM_THREADS='1'
    ).stdout
    assert f'labels: {NUM_IMAGES - here} written, {here} existed before' in output
    reference = export_pseudo_labels(run / 'small.py', run / 'small.pth', run / 'whole', device='cpu', num_workers=0)
    assert count(run / 'labels') == NUM_IMAGES
    for job in reference.jobs:
        assert (run / 'labels' / job.file.name).read_bytes() == job.file.read_bytes()
    assert not list(run.rglob('.tmp-*'))


@pytest.mark.slow
def test_an_export_with_an_unreadable_image_reports_and_fails(run, tmp_path):
    split = run / 'data/ImageSets/Segmentation/few.txt'
    split.write_text('train_000001\nval_000000\ntrain_000002\n')
    (run / 'data/JPEGImages/val_000000.jpg').write_bytes(b'no image')
    command = [SCRIPT, run / 'small.py', run / 'small.pth', '--out', 'labels', '--procs', '0']
    process = run_tool(*command, '--split', 'ImageSets/Segmentation/few.txt', cwd=tmp_path, check=False)
    assert process.returncode == 1, process.stdout
    assert 'labels: 2 written, 0 existed before' in process.stdout
    assert 'FAILED val_000000: cannot be read' in process.stdout
    assert '| background |' in process.stdout
    report = json.loads((tmp_path / 'labels/report.json').read_text())
    assert (report['images'], report['with_mask'], list(report['failed'])) == (2, 2, ['val_000000'])
    label, mask = (
        np.stack([read_mask(folder / f'train_00000{i}.png') for i in (1, 2)])
        for folder in (tmp_path / 'labels', run / 'data/SegmentationClassAug')
    )
    known = mask != 255
    background = (label == 0) & known
    iou = (background & (mask == 0)).sum() / (background | (mask == 0)).sum()
    assert report['classes']['background']['IoU'] == pytest.approx(100 * iou, abs=0.01)

    process = run_tool(*command, '--split', 'ImageSets/Segmentation/few.txt', '--crf', cwd=tmp_path, check=False)
    assert process.returncode == 1
    (line, *_) = [line for line in process.stdout.splitlines() if 'error' in line]
    assert line.startswith('export_pseudo_labels.py: error: labels holds files of other settings:')
    assert 'model.refiner.type: PAR before, DenseCRF now' in line
    assert 'Traceback' not in process.stdout


SECOND_STAGE = f"""
_base_ = '{REPO}/configs/afa/segformer_mit-b1_voc-pseudo.py'
size = (64, 64)
train_pipeline = _base_.train_pipeline
train_pipeline[-2].crop_size = size
model = dict(
    data_preprocessor=dict(size=size),
    backbone=dict(embed_dims=8, num_layers=[1, 1, 1, 1], init_cfg=None),
    decode_head=dict(in_channels=[8, 16, 40, 64], channels=32, num_classes=7),
)
dataset = dict(type='ShapesVOCDataset', data_root='data')
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, batch_size=4, dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(**dataset, ann_file='ImageSets/Segmentation/train_aug.txt'))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type='WarmupPolyLR', max_iters=30, warmup_iters=3)]
train_cfg = dict(max_iters=30, val_interval=30)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=30))
randomness = dict(seed=0)
"""


@pytest.mark.slow
def test_the_second_stage_trains_on_the_exported_files_alone(tmp_path):
    write_small_run(tmp_path, num_train=16)
    out = 'data/PseudoLabels'
    run_tool(SCRIPT, 'small.py', 'small.pth', '--out', out, '--procs', 0, cwd=tmp_path)
    (tmp_path / 'second.py').write_text(SECOND_STAGE)
    run_tool('train.py', 'second.py', '--work-dir', 'wd', cwd=tmp_path, timeout=300)
    (log,) = tmp_path.glob('wd/2*/vis_data/scalars.json')
    records = [json.loads(line) for line in log.open()]
    losses = [record['loss'] for record in records if 'loss' in record]
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert 0 < records[-1]['mIoU'] <= 100

    # Training requires all exported files.
    (tmp_path / out / 'train_000004.png').unlink()
    process = run_tool('train.py', 'second.py', '--work-dir', 'again', cwd=tmp_path, check=False)
    assert process.returncode != 0
    assert "1 of 16 ids have no .png file in data/PseudoLabels: 'train_000004'" in process.stdout
