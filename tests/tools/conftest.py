"""A plain mmseg network of a few hundred weights and six generated images, for the tools to run on."""

import numpy as np
import pytest
from PIL import Image

CONFIG = """
default_scope = 'mmseg'
max_iters = 1000
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3,
                           bgr_to_rgb=True, size=(32, 32), pad_val=0, seg_pad_val=255),
    backbone=dict(type='MixVisionTransformer', embed_dims=8, num_stages=1, num_layers=[1], num_heads=[1],
                  patch_sizes=[7], strides=[4], sr_ratios=[1], out_indices=(0,), mlp_ratio=1),
    decode_head=dict(type='FCNHead', in_channels=8, in_index=0, channels=8, num_convs=1, concat_input=False,
                     num_classes=2, norm_cfg=norm_cfg, align_corners=False,
                     loss_decode=dict(type='CrossEntropyLoss')),
    test_cfg=dict(mode='whole'))
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
pipeline = [*load, dict(type='PackSegInputs')]
dataset = dict(type='BaseSegDataset', data_root={root!r}, data_prefix=dict(img_path='img', seg_map_path='mask'),
               img_suffix='.png', metainfo=dict(classes=('dark', 'bright'), palette=[[0, 0, 0], [255, 255, 255]]),
               pipeline=pipeline)
train_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
                        dataset=dataset)
val_dataloader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                      dataset=dataset)
test_dataloader = val_dataloader
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'])]
test_evaluator = val_evaluator
tta_model = dict(type='SegTTAModel')
tta_pipeline = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[
    [dict(type='Resize', scale_factor=s, keep_ratio=True) for s in (1.0, 2.0)],
    [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
    [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
param_scheduler = dict(type='PolyLR', by_epoch=False, eta_min=0.0, power=1.0, begin=0, end=max_iters)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(shutdown=dict(type='ShutdownHook'), norm_stats=dict(type='AverageNormStatsHook'),
                     timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=1),
                     param_scheduler=dict(type='ParamSchedulerHook'),
                     checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=2))
log_processor = dict(by_epoch=False)
custom_imports = dict(imports=['afa_mmseg', 'toy_probe'])
custom_hooks = [dict(type='ToyProbe')]
randomness = dict(seed=0)
"""

# Found next to the config: launched processes have its folder in PYTHONPATH.
PROBE = """
import os, pickle, torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class ToyProbe(Hook):
    priority = 'LOWEST'

    def note(self, runner, **facts):
        name = f"{type(self).__name__}_{runner.rank}_{next(iter(facts))}.pkl"
        with open(os.path.join(runner.work_dir, name), 'wb') as file:
            pickle.dump(facts, file)

    def before_train(self, runner):
        self.note(runner, pid=os.getpid())

    def after_train_epoch(self, runner):
        norm = runner.model.module.decode_head.convs[0].bn
        self.note(runner, norm=type(norm).__name__, mean=norm.running_mean.tolist(), iter=runner.iter,
                  backend=torch.distributed.get_backend(), threads=torch.get_num_threads(),
                  cuda=torch.cuda.is_initialized(), wrapper=type(runner.model).__name__)
"""


@pytest.fixture(scope='session')
def toy_config(tmp_path_factory):
    """The path of a config; its classes are dark and bright, so a few steps learn them."""
    root = tmp_path_factory.mktemp('toy')
    rng = np.random.default_rng(0)
    for index in range(6):
        mask = np.zeros((32, 32), np.uint8)
        mask[:, index + 8 :] = 1
        image = (mask[..., None] * 180 + rng.integers(0, 60, (32, 32, 3))).astype(np.uint8)
        for folder, array in (('img', image), ('mask', mask)):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / folder / f'{index}.png')
    path = root / 'toy.py'
    (root / 'toy_probe.py').write_text(PROBE)
    path.write_text(CONFIG.replace('{root!r}', repr(str(root))))
    return path
