"""error_profile.py as a user runs it; its figures are those of the model's own predictions and labels."""

import re
import runpy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS

from afa_mmseg.apis import init_model
from afa_mmseg.evaluation.confusion import Confusion
from tests.apis.small_run import write_small_run
from tests.tools.toolbox import REPO, run_tool

SCRIPT = 'analysis_tools/error_profile.py'


def numbers(output, row):
    """Return the numbers of a row of a printed table."""
    (line,) = [line for line in output.splitlines() if re.match(rf'\| {re.escape(row)} +\|', line)]
    return [float(x) for x in re.findall(r'-?\d+\.\d+', line.split('|', 2)[2])]


def test_figures_are_those_of_the_maps_themselves(tmp_path):
    config, checkpoint = write_small_run(tmp_path, num_train=5)
    split = 'test_dataloader.dataset.ann_file=ImageSets/Segmentation/train_aug.txt'
    run = run_tool(SCRIPT, config, checkpoint, '--scores', 0.3, 0.6, '--cfg-options', split, cwd=tmp_path)
    model = init_model(config, checkpoint)
    model.cfg.test_dataloader.dataset.ann_file = split.partition('=')[2]
    dataset = DATASETS.build(model.cfg.test_dataloader.dataset)
    seg, cam, label = (Confusion(model.decode_head.num_classes) for _ in range(3))
    for i in range(len(dataset)):
        with torch.no_grad(), model.predicting_cams(pseudo_label=True):
            (sample,) = model.test_step(pseudo_collate([dataset[i]]))
        mask = sample.gt_sem_seg.data[0]
        seg.add(sample.pred_sem_seg.data[0], mask)
        scores = torch.nn.functional.pad(sample.pred_cam.data, (0, 0, 0, 0, 1, 0), value=0.6)
        cam.add(scores.argmax(dim=0), mask)
        label.add(sample.pred_pseudo_label.data[0], mask)
    assert numbers(run.stdout, 'mIoU') == [pytest.approx(seg.mean_iou, abs=0.051)]
    assert numbers(run.stdout, 'CAM')[1] == pytest.approx(cam.mean_iou, abs=0.051)
    found = numbers(run.stdout, "the rule's")
    assert found[0] == pytest.approx(label.mean_iou, abs=0.051)
    assert found[1] == pytest.approx(100 * label.ignored, abs=0.051)
    assert found[2:] == pytest.approx(label.foreground, abs=0.0051)


def test_the_band_has_both_sides_of_an_outline_and_of_a_ring():
    tool = runpy.run_path(str(REPO / 'tools' / SCRIPT))
    mask = np.zeros((9, 30), int)
    mask[:, 13:18] = 255  # a ring between background and a class
    mask[:, 18:] = 1
    near = tool['near_outlines'](mask, 3)
    assert near[4].nonzero()[0].tolist() == [*range(10, 21)]
    mask[mask == 255] = 0
    assert tool['near_outlines'](mask, 3)[4].nonzero()[0].tolist() == [*range(15, 21)]


@pytest.mark.parametrize(
    ('option', 'match'),
    [
        (['--every', 0], '--every 0'),
        (['--cfg-options', 'test_dataloader.dataset.data_prefix.seg_map_path=nowhere'], 'seg_map_path|mask'),
    ],
)
def test_mistakes_are_errors(tmp_path, option, match):
    config, checkpoint = write_small_run(tmp_path, num_train=1)
    run = run_tool(SCRIPT, config, checkpoint, *option, cwd=tmp_path, check=False)
    assert run.returncode == 1
    assert 'Traceback' not in run.stdout
    assert re.search(match, run.stdout)
