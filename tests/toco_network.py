"""The tiny network of the ToCo goldens in our terms."""

from pathlib import Path

import torch
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
