"""The tiny network of the goldens in our terms: its configuration, and the names of its weights."""

import re

import torch
from mmseg.registry import MODELS

#: Parameter names of the reference, as patterns, and ours.
RENAMED = {
    r'encoder\.patch_embed(\d)\.proj': r'backbone.layers.\1.0.projection',
    r'encoder\.patch_embed(\d)\.norm': r'backbone.layers.\1.0.norm',
    r'encoder\.norm(\d)': r'backbone.layers.\1.2',
    r'encoder\.block(\d)\.(\d+)\.attn\.proj': r'backbone.layers.\1.1.\2.attn.attn.out_proj',
    r'encoder\.block(\d)\.(\d+)\.attn\.in_proj\.': r'backbone.layers.\1.1.\2.attn.attn.in_proj_',
    r'encoder\.block(\d)\.(\d+)\.mlp\.fc1': r'backbone.layers.\1.1.\2.ffn.layers.0',
    r'encoder\.block(\d)\.(\d+)\.mlp\.dwconv\.dwconv': r'backbone.layers.\1.1.\2.ffn.layers.1',
    r'encoder\.block(\d)\.(\d+)\.mlp\.fc2': r'backbone.layers.\1.1.\2.ffn.layers.4',
    r'encoder\.block(\d)\.(\d+)': r'backbone.layers.\1.1.\2',
    r'decoder\.linear_c(\d)\.proj': r'decode_head.projections.\1',
    r'decoder\.linear_fuse': 'decode_head.fusion_conv',
    r'decoder\.linear_pred': 'decode_head.conv_seg',
    r'attn_proj': 'decode_head.affinity_proj',
    r'classifier': 'decode_head.classifier',
}


def map_reference_keys(state):
    """Rename a state dict of the reference: queries and keys-values packed, linear layers as 1x1 convolutions."""
    packed = {}
    for key, value in state.items():
        if '.attn.q.' in key:
            packed[key.replace('.q.', '.in_proj.')] = torch.cat([value, state[key.replace('.q.', '.kv.')]])
        elif '.attn.kv.' not in key:
            packed[key] = value
    mapped = {}
    for key, value in packed.items():
        name = _rename(key)
        if value.ndim == 2 and ('.ffn.' in name or '.projections.' in name):
            value = value[..., None, None]
        mapped[name] = value
    return mapped


def _rename(key):
    for pattern, name in RENAMED.items():
        renamed, count = re.subn(f'^{pattern}', name, key)
        if count:
            # The reference counts stages from 1, we from 0.
            return re.sub(r'(layers|projections)\.(\d)', lambda m: f'{m[1]}.{int(m[2]) - 1}', renamed, count=1)
    raise KeyError(key)


def tiny_config(**overrides):
    """Give the config of the segmentor that the tiny goldens were taken from."""
    return dict(
        type='WeaklySupervisedSegmentor',
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
        pseudo_label=dict(radius=2),
        train_cfg=dict(cls_only_until=2, cam_label_until=6),
        test_cfg=dict(mode='whole'),
        **overrides,
    )


def build_tiny_segmentor():
    """Build that segmentor with random weights."""
    return MODELS.build(tiny_config())
