"""ToCo by tools/train.py: figures of validation, panels, accumulated gradients, a resumed run equal to another."""

import json

import pytest
import torch

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from tests.toco_network import SMALL, TOCO_SHAPES
from tests.tools.toolbox import run_tool

OPTIONS = [f'{name}={value}' for name, value in SMALL.items()] + [
    'optim_wrapper.accumulative_counts=2',
    *(f'{loader}_dataloader.dataset.data_root=data' for loader in ('train', 'val', 'test')),
]


@pytest.mark.slow
def test_a_run_validates_and_a_resumed_one_ends_with_the_same_weights(tmp_path):
    make_shapes_voc(tmp_path / 'data', num_train=12, num_val=2, size=64)
    options = ['--cfg-options', *OPTIONS, 'custom_hooks.0.interval=6']
    run_tool('train.py', TOCO_SHAPES, '--work-dir', 'whole', *options, cwd=tmp_path)
    (log,) = (tmp_path / 'whole').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for name in ('mIoU', 'cam/mIoU', 'aux_cam/mIoU', 'cls/f1'):
        assert name in lines[-1]
    assert {'loss_aux', 'loss_ptc', 'loss_ctc', 'loss_seg', 'background_crops'} <= lines[-2].keys()
    assert list((tmp_path / 'whole').glob('*/vis_data/vis_image/*'))
    (tmp_path / 'resumed').mkdir()
    (tmp_path / 'whole/iter_3.pth').rename(tmp_path / 'resumed/iter_3.pth')
    (tmp_path / 'resumed/last_checkpoint').write_text('resumed/iter_3.pth')
    run_tool('train.py', TOCO_SHAPES, '--work-dir', 'resumed', '--resume', *options, cwd=tmp_path)
    whole, resumed = (
        torch.load(tmp_path / name / 'iter_6.pth', weights_only=False)['state_dict'] for name in ('whole', 'resumed')
    )
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
