"""Weights of Vision Transformers and of ToCo in our names, and ours in ToCo's."""

import re

import torch
from torch import Tensor

from .layouts import CLASSIFIER, Layout, Names, State, check_names, find_layout, of_modules

TIMM_NAMES: Names = {
    'cls_token': 'cls_token',
    'pos_embed': 'pos_embed',
    **of_modules(
        {
            'patch_embed.projection': 'patch_embed.proj',
            'layers.{b}.ln1': 'blocks.{b}.norm1',
            'layers.{b}.attn.attn.in_proj_{leaf}': 'blocks.{b}.attn.qkv',
            'layers.{b}.attn.attn.out_proj': 'blocks.{b}.attn.proj',
            'layers.{b}.ln2': 'blocks.{b}.norm2',
            'layers.{b}.ffn.layers.0.0': 'blocks.{b}.mlp.fc1',
            'layers.{b}.ffn.layers.1': 'blocks.{b}.mlp.fc2',
            'ln1': 'norm',
        }
    ),
}
_HF = 'encoder.layer.{b}'
HUGGING_FACE_VIT_NAMES: Names = {
    'cls_token': 'embeddings.cls_token',
    'pos_embed': 'embeddings.position_embeddings',
    **of_modules(
        {
            'patch_embed.projection': 'embeddings.patch_embeddings.projection',
            'layers.{b}.ln1': f'{_HF}.layernorm_before',
            'layers.{b}.attn.attn.in_proj_{leaf}': tuple(
                f'{_HF}.attention.attention.{name}' for name in ('query', 'key', 'value')
            ),
            'layers.{b}.attn.attn.out_proj': f'{_HF}.attention.output.dense',
            'layers.{b}.ln2': f'{_HF}.layernorm_after',
            'layers.{b}.ffn.layers.0.0': f'{_HF}.intermediate.dense',
            'layers.{b}.ffn.layers.1': f'{_HF}.output.dense',
            'ln1': 'layernorm',
        }
    ),
}
TOCO_NAMES: Names = {
    **{f'backbone.{ours}': f'encoder.{name}' for ours, name in TIMM_NAMES.items()},
    'decode_head.classifier.weight': 'classifier.weight',
    'decode_head.aux_classifier.weight': 'aux_classifier.weight',
    'decode_head.conv6.weight': 'decoder.conv6.weight',
    'decode_head.conv7.weight': 'decoder.conv7.weight',
    'decode_head.conv_seg.weight': 'decoder.conv8.weight',
    **{
        f'decode_head.{ours}.{leaf}': f'{theirs}.{name}'
        for ours, theirs in (('projector', 'proj_head'), ('averaged_projector', 'proj_head_t'))
        for leaf, name in (
            *((f'mlp.{i}.{{leaf}}', f'mlp.{i}.{{leaf}}') for i in (0, 2, 4)),
            ('last_layer.weight', 'last_layer.weight_v'),
        )
    },
}
#: ToCo's last layers have rows of this length, and a tensor with it.
MAGNITUDE = '.last_layer.weight_g'
HEADS = {'head.': CLASSIFIER, 'pre_logits.': CLASSIFIER}
VIT_LAYOUTS = (
    Layout('ToCo', 'encoder.patch_embed.proj.weight', TOCO_NAMES, left_out={'encoder.head.': CLASSIFIER}),
    Layout('timm or DeiT', 'patch_embed.proj.weight', TIMM_NAMES, left_out=HEADS),
    Layout(
        'Hugging Face ViT',
        'embeddings.patch_embeddings.projection.weight',
        HUGGING_FACE_VIT_NAMES,
        ('', 'vit.', 'deit.'),
        {'classifier.': CLASSIFIER, 'pooler.': CLASSIFIER},
    ),
)


def find_vit_layout(state: State) -> tuple[Layout, dict[str, Tensor], dict[str, str]]:
    """Return the layout of a Vision Transformer, see `find_layout`."""
    return find_layout(state, VIT_LAYOUTS, 'Vision Transformer')


def convert_vit(state: State) -> dict[str, Tensor]:
    """Rename and pack weights for `AttnVisionTransformer`, or for the segmentor `ToCo` where they are ToCo's.

    Raises:
        ValueError: The layout is unknown, or a tensor is missing or unexpected, or ToCo's has another magnitude than 1.
    """
    layout, tensors, _ = find_vit_layout(state)
    magnitudes = [key for key in tensors if key.endswith(MAGNITUDE)]
    if any((tensors.pop(key) != 1).any() for key in magnitudes):
        raise ValueError(f'rows of *{MAGNITUDE} must be of length 1, as ToCo trains them')
    names = layout.sources([_count(tensors, r'norm1|layernorm_before')])
    check_names(tensors, [name for parts in names.values() for name in parts])
    return {key: torch.cat([tensors[name] for name in parts]) for key, parts in names.items()}


def to_toco(state: State) -> dict[str, Tensor]:
    """Rename the weights of our segmentor `ToCo` as ToCo's network has them, but for the unused `encoder.head`.

    Raises:
        ValueError: A tensor is missing or unexpected.
    """
    names = VIT_LAYOUTS[0].sources([_count(state, 'ln1')])
    check_names(state, list(names))
    converted = {theirs[0]: state[ours].clone() for ours, theirs in names.items()}
    rows = {key: value for key, value in converted.items() if key.endswith('.last_layer.weight_v')}
    return {**converted, **{f'{key[:-1]}g': value.new_ones(len(value), 1) for key, value in rows.items()}}


def _count(tensors: State, norm: str) -> int:
    """Count the blocks by the tensors of their first norms."""
    return sum(1 for key in tensors if re.search(rf'\.\d+\.({norm})\.weight$', key))
