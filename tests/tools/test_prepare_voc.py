"""tools/dataset_converters/prepare_voc.py as a user runs it: to its end, interrupted, killed, and again."""

import json
import os
import signal

import numpy as np
import pytest

from afa_mmseg.utils import read_mask
from tests.datasets.preparation.voc_files import IMAGES, LABELS, draw_mask, multiply, write_sbd, write_voc
from tests.tools.halfway import count_masks, stop_halfway
from tests.tools.toolbox import run_tool

SCRIPT = 'dataset_converters/prepare_voc.py'
NUM_IMAGES = 3000


@pytest.fixture(scope='module')
def downloads(tmp_path_factory):
    """A folder with VOCdevkit and benchmark_RELEASE, with enough images to be killed half-way."""
    folder = tmp_path_factory.mktemp('voc')
    multiply(write_voc(folder), write_sbd(folder), NUM_IMAGES)
    return folder


@pytest.mark.slow
def test_interrupted_killed_and_again(downloads):
    root = downloads / 'VOCdevkit/VOC2012'
    masks, command = root / 'SegmentationClassAug', [root, '--sbd', downloads / 'benchmark_RELEASE']
    code, output = stop_halfway(SCRIPT, command, masks, 50, lambda p: os.killpg(p.pid, signal.SIGINT))
    assert code == 130, output
    assert 'prepare_voc.py: interrupted' in output
    assert 'Traceback' not in output

    code, output = stop_halfway(SCRIPT, command, masks, count_masks(masks) + 200, lambda p: p.kill())
    assert code == -signal.SIGKILL, output
    assert count_masks(masks) < NUM_IMAGES
    assert not (root / 'cls_labels.json').exists()
    expected = draw_mask(IMAGES['2008_000003'], outline=False)
    written = list(masks.glob('2010_*.png'))
    assert written
    assert all(np.array_equal(read_mask(path), expected) for path in written)
    # What a process leaves that was killed while it wrote.
    (masks / '.tmp-999999999-2010_000001.png').write_bytes(b'half')

    here = count_masks(masks)
    output = run_tool(SCRIPT, 'VOCdevkit', '--sbd', 'benchmark_RELEASE', cwd=downloads).stdout
    assert f'{NUM_IMAGES + 5} masks in SegmentationClassAug, {NUM_IMAGES + 5 - here} of them new' in output
    assert f'{NUM_IMAGES + 5} images of train_aug and val, from xml; 1 without a class' in output
    assert f'Labels of XML and masks: {NUM_IMAGES + 5}/{NUM_IMAGES + 5}' in output
    assert not list(downloads.rglob('.tmp-*'))
    labels = json.loads((root / 'cls_labels.json').read_text())
    assert {img_id: labels[img_id] for img_id in LABELS} == LABELS
    assert len(labels) == NUM_IMAGES + 5

    output = run_tool(SCRIPT, 'VOCdevkit', cwd=downloads).stdout
    assert output.splitlines()[-1] == 'VOCdevkit: complete, nothing to do'
