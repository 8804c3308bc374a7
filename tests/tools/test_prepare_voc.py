"""tools/dataset_converters/prepare_voc.py as a user runs it: to its end, interrupted, killed, and again."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from afa_mmseg.utils import read_mask
from tests.datasets.preparation.voc_files import IMAGES, LABELS, draw_mask, multiply, write_sbd, write_voc
from tests.tools.toolbox import REPO, run_tool, tool_environment
from tests.utils.processes import is_running, wait_for

SCRIPT = 'dataset_converters/prepare_voc.py'
NUM_IMAGES = 3000


@pytest.fixture(scope='module')
def downloads(tmp_path_factory):
    """A folder with VOCdevkit and benchmark_RELEASE, with enough images to be killed half-way."""
    folder = tmp_path_factory.mktemp('voc')
    multiply(write_voc(folder), write_sbd(folder), NUM_IMAGES)
    return folder


def start(folder):
    """Start the command as the leader of a process group, as a shell does."""
    return subprocess.Popen(
        [sys.executable, REPO / 'tools' / SCRIPT, 'VOCdevkit', '--sbd', 'benchmark_RELEASE', '--num-workers', '2'],
        cwd=folder,
        env=tool_environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop_half_way(folder, stop, more):
    """Start the command, call `stop` when it has written `more` masks; return exit code, output and workers."""
    masks = folder / 'VOCdevkit/VOC2012/SegmentationClassAug'
    enough = count(masks) + more
    process = start(folder)
    wait_for(lambda: count(masks) >= enough or process.poll() is not None, seconds=120)
    workers = children(process.pid)
    stop(process)
    output, _ = process.communicate(timeout=60)
    assert enough <= count(masks) < NUM_IMAGES
    wait_for(lambda: not any(map(is_running, workers)))
    return process.returncode, output, workers


def count(folder):
    return len(list(folder.glob('[!.]*'))) if folder.is_dir() else 0


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.slow
def test_interrupted_killed_and_again(downloads):
    root = downloads / 'VOCdevkit/VOC2012'
    code, output, workers = stop_half_way(downloads, lambda p: os.killpg(p.pid, signal.SIGINT), 50)
    assert code == 130, output
    assert len(workers) >= 2
    assert 'prepare_voc.py: interrupted' in output
    assert 'Traceback' not in output

    code, output, workers = stop_half_way(downloads, lambda p: p.kill(), 200)
    assert code == -signal.SIGKILL, output
    assert len(workers) >= 2
    assert not (root / 'cls_labels.json').exists()
    expected = draw_mask(IMAGES['2008_000003'], outline=False)
    written = list((root / 'SegmentationClassAug').glob('2010_*.png'))
    assert written
    assert all(np.array_equal(read_mask(path), expected) for path in written)
    # What a process leaves that was killed while it wrote.
    (root / 'SegmentationClassAug/.tmp-999999999-2010_000001.png').write_bytes(b'half')

    here = count(root / 'SegmentationClassAug')
    output = run_tool(SCRIPT, 'VOCdevkit', '--sbd', 'benchmark_RELEASE', cwd=downloads).stdout
    assert f'SegmentationClassAug: {NUM_IMAGES + 5 - here} from SBD, {here} existed' in output
    assert f'{NUM_IMAGES + 5} images of train_aug and val, from xml; 1 without a class' in output
    assert f'Labels of XML and masks: {NUM_IMAGES + 5}/{NUM_IMAGES + 5}' in output
    assert not list(downloads.rglob('.tmp-*'))
    labels = json.loads((root / 'cls_labels.json').read_text())
    assert {img_id: labels[img_id] for img_id in LABELS} == LABELS
    assert len(labels) == NUM_IMAGES + 5

    output = run_tool(SCRIPT, 'VOCdevkit', cwd=downloads).stdout
    assert f'nothing to do, {NUM_IMAGES + 5} masks' in output


def test_a_mistake_is_one_message_and_exit_code_1(tmp_path):
    root = write_voc(tmp_path)
    process = run_tool(SCRIPT, root, cwd=tmp_path, check=False)
    assert process.returncode == 1
    assert f'prepare_voc.py: error: {root}/SegmentationClassAug is missing' in process.stdout
    assert f'prepare_voc.py {root} --sbd benchmark_RELEASE' in process.stdout
    assert 'Traceback' not in process.stdout
