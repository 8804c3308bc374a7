"""ToCo by tools/train.py: figures of validation, panels, accumulated gradients, a resumed run equal to another."""

import json

import pytest
import torch

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from tests.tools.toolbox import REPO, run_tool

CONFIG = REPO / 'configs/toco/toco_vit-tiny_shapes.py'
OPTIONS = [
    'model.backbone.arch.embed_dims=32',
    'model.backbone.arch.num_layers=3',
    'model.backbone.arch.num_heads=2',
    'model.backbone.img_size=64',
    'model.data_preprocessor.size=(64,64)',
    'model.decode_head.in_channels=[32,32]',
    'model.decode_head.channels=16',
    'model.decode_head.projector.hidden=32',
    'model.train_cfg.no_contrast_until=1',
    'model.train_cfg.no_seg_until=2',
    'model.train_cfg.local_size=16',
    'train_dataloader.dataset.pipeline.1.transforms.0.scale=64',
    'train_dataloader.dataset.pipeline.4.crop_size=64',
    'train_dataloader.batch_size=2',
    'param_scheduler.0.max_iters=6',
    'param_scheduler.0.warmup_iters=2',
    'train_cfg.max_iters=6',
    'train_cfg.val_interval=6',
    'default_hooks.checkpoint.interval=3',
    'default_hooks.logger.interval=1',
    'optim_wrapper.accumulative_counts=2',
    *(f'{loader}_dataloader.dataset.data_root=data' for loader in ('train', 'val', 'test')),
    *(f'{loader}_dataloader.num_workers=0' for loader in ('train', 'val', 'test')),
    *(f'{loader}_dataloader.persistent_workers=False' for loader in ('train', 'val', 'test')),
]


@pytest.mark.slow
def test_a_run_validates_and_a_resumed_one_ends_with_the_same_weights(tmp_path):
    make_shapes_voc(tmp_path / 'data', num_train=12, num_val=2, size=64)
    options = ['--cfg-options', *OPTIONS, 'custom_hooks.0.interval=6']
    run_tool('train.py', CONFIG, '--work-dir', 'whole', *options, cwd=tmp_path)
    (log,) = (tmp_path / 'whole').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for name in ('mIoU', 'cam/mIoU', 'aux_cam/mIoU', 'cls/f1-score'):
        assert name in lines[-1]
    assert {'loss_aux', 'loss_ptc', 'loss_ctc', 'loss_seg', 'background_crops'} <= lines[-2].keys()
    assert list((tmp_path / 'whole').glob('*/vis_data/vis_image/*'))
    (tmp_path / 'resumed').mkdir()
    (tmp_path / 'whole/iter_3.pth').rename(tmp_path / 'resumed/iter_3.pth')
    (tmp_path / 'resumed/last_checkpoint').write_text('resumed/iter_3.pth')
    run_tool('train.py', CONFIG, '--work-dir', 'resumed', '--resume', *options, cwd=tmp_path)
    whole, resumed = (
        torch.load(tmp_path / name / 'iter_6.pth', weights_only=False)['state_dict'] for name in ('whole', 'resumed')
    )
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
