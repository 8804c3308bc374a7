"""The tiny network of the ToCo goldens in our terms, and a small config that trains."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from afa_mmseg.models.checkpoints.vit import convert_vit

DATA = Path(__file__).parent / 'data/toco'
MEAN, STD = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
BACKBONE = dict(
    type='AttnVisionTransformer', arch=dict(embed_dims=64, num_layers=4, num_heads=4), img_size=64, out_indices=(1, 3)
)
HEAD = dict(
    type='ToCoHead',
    in_channels=(64, 64),
    channels=32,
    num_classes=21,
    projector=dict(hidden=64, bottleneck=32, out_channels=128),
    loss_aux=dict(type='MultiLabelSoftMarginLoss'),
    loss_ptc=dict(type='PatchTokenContrastLoss'),
    loss_ctc=dict(type='ClassTokenContrastLoss'),
)
TOCO_SHAPES = Path(__file__).parents[1] / 'configs/toco/toco_vit-tiny_shapes.py'
#: Makes that config small enough to run in a second, all phases in 6 iterations.
SMALL = {
    'model.backbone.arch.embed_dims': 32,
    'model.backbone.arch.num_layers': 3,
    'model.backbone.arch.num_heads': 2,
    'model.backbone.img_size': 64,
    'model.data_preprocessor.size': (64, 64),
    'model.decode_head.in_channels': [32, 32],
    'model.decode_head.channels': 16,
    'model.decode_head.projector.hidden': 32,
    'model.train_cfg.no_contrast_until': 1,
    'model.train_cfg.no_seg_until': 2,
    'model.train_cfg.local_size': 16,
    'train_dataloader.dataset.pipeline.1.transforms.0.scale': 64,
    'train_dataloader.dataset.pipeline.4.crop_size': 64,
    'train_dataloader.batch_size': 2,
    'param_scheduler.0.max_iters': 6,
    'param_scheduler.0.warmup_iters': 2,
    'train_cfg.max_iters': 6,
    'train_cfg.val_interval': 6,
    'default_hooks.checkpoint.interval': 3,
    'default_hooks.logger.interval': 1,
    **{f'{loader}_dataloader.num_workers': 0 for loader in ('train', 'val', 'test')},
    **{f'{loader}_dataloader.persistent_workers': False for loader in ('train', 'val', 'test')},
}


def shapes_config(data):
    """Return the small config for a folder of ShapesVOC."""
    config = Config.fromfile(TOCO_SHAPES)
    roots = {f'{loader}_dataloader.dataset.data_root': str(data) for loader in ('train', 'val', 'test')}
    config.merge_from_dict({**SMALL, **roots})
    return config


def tiny_state():
    """Return the golden weights in our names."""
    return convert_vit(torch.load(DATA / 'toco_tiny.pth', weights_only=True))


def build_parts():
    """Build backbone and head with the golden weights, in training mode."""
    parts = torch.nn.ModuleDict(dict(backbone=MODELS.build(BACKBONE), decode_head=MODELS.build(HEAD)))
    parts.load_state_dict(tiny_state())
    return parts['backbone'], parts['decode_head']


def normalize(image):
    """Normalise pixel values (B, 3, H, W) as the goldens do."""
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (image.float() / 255 - mean) / std
