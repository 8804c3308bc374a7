"""prepare_coco.py as a process: from nothing, killed, interrupted, and again."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.datasets.preparation.coco import prepare_coco
from tests.datasets.preparation.coco_files import CLASSES, annotation, image, write_coco
from tests.tools.halfway import stop_halfway
from tests.tools.toolbox import run_tool

SCRIPT = 'dataset_converters/prepare_coco.py'
COUNT = 600


def fill(root, count):
    """Write images of 240 x 320 with six polygons of forty corners each."""
    rng = np.random.default_rng(0)
    polygons = [
        np.stack([160 + radius * np.cos(angle), 120 + radius * np.sin(angle)], axis=1).round(1).flatten().tolist()
        for radius in rng.uniform(30, 120, (6, 40))
        for angle in [np.linspace(0, 6, 40)]
    ]
    annotations = [
        annotation(10 * number + i, number, CLASSES[1 + (number + i) % 80], [polygon])
        for number in range(1, count + 1)
        for i, polygon in enumerate(polygons)
    ]
    images = [image(number, 240, 320) for number in range(1, count + 1)]
    write_coco(root, images, annotations, write_images=False)
    first = root / 'val2014' / images[0]['file_name']
    Image.fromarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(first)
    for item in images[1:]:
        os.link(first, root / 'val2014' / item['file_name'])


def check_whole(root):
    """Read all masks under their final names; return their number."""
    masks = list((root / 'SegmentationClass/val2014').glob('C*.png'))
    for path in masks:
        with Image.open(path) as mask:
            mask.load()
    return len(masks)


@pytest.mark.slow
def test_killed_and_interrupted_it_leaves_whole_files_and_resumes(tmp_path):
    fill(tmp_path, COUNT)
    command, masks = [tmp_path, '--splits', 'val'], tmp_path / 'SegmentationClass/val2014'
    status, output = stop_halfway(SCRIPT, command, masks, 20, lambda p: p.kill())
    assert status == -signal.SIGKILL
    before = check_whole(tmp_path)
    assert 20 <= before < COUNT
    assert not (tmp_path / 'labels_val2014.json').exists()

    status, output = stop_halfway(SCRIPT, command, masks, before + 100, lambda p: os.killpg(p.pid, signal.SIGINT))
    assert status == 130
    assert 'prepare_coco.py: interrupted; the same command continues from here' in output
    assert 'Traceback' not in output
    assert before + 100 <= check_whole(tmp_path) < COUNT
    assert not list(tmp_path.rglob('.tmp-*'))

    output = run_tool(SCRIPT, tmp_path, '--splits', 'val', cwd=tmp_path).stdout
    assert f'{tmp_path}: ready' in output
    assert check_whole(tmp_path) == COUNT
    fill(tmp_path / 'alone', 3)
    prepare_coco(tmp_path / 'alone', splits=['val'])
    for path in (tmp_path / 'alone/SegmentationClass').rglob('*.png'):
        assert path.read_bytes() == (tmp_path / 'SegmentationClass/val2014' / path.name).read_bytes()

    output = run_tool(SCRIPT, tmp_path, '--splits', 'val', cwd=tmp_path).stdout
    assert output.splitlines()[-1] == f'{tmp_path}: complete, nothing to do'
