"""The tiny network of the goldens in our terms, and samples for it."""

import torch
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from afa_mmseg.models.checkpoints import convert


def map_reference_keys(state):
    """Rename a state dict of the reference."""
    return convert(state).state


def tiny_config(**overrides):
    """Return the config of the segmentor that the tiny goldens were taken from."""
    return dict(
        type='AFA',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            size=(64, 64),
        ),
        backbone=dict(
            type='AttnMixVisionTransformer', arch=dict(embed_dims=8, num_layers=(2, 2, 2, 2)), drop_path_rate=0.0
        ),
        decode_head=dict(
            type='AFAHead',
            in_channels=(8, 16, 40, 64),
            channels=32,
            num_classes=21,
            dropout_ratio=0.0,
            norm_cfg=dict(type='BN'),
        ),
        refiner=dict(type='PAR', num_iters=10),
        pseudo_labeler=dict(type='AffinityPseudoLabeler', radius=2),
        train_cfg=dict(cls_only_until=2, cam_label_until=6),
        test_cfg=dict(mode='whole'),
        **overrides,
    )


def build_tiny_segmentor():
    """Build that segmentor with random weights."""
    return MODELS.build(tiny_config())


def make_sample(classes, num_classes=20, **meta):
    """Make a sample that holds these of the foreground classes."""
    sample = SegDataSample(metainfo=meta)
    sample.gt_label = torch.zeros(num_classes)
    sample.gt_label[list(classes)] = 1
    return sample


def at_iteration(iteration):
    """Have training code believe that this is the iteration."""
    MessageHub.get_current_instance().update_info('iter', iteration)
