"""Weights of Vision Transformers and of ToCo in our names, and ours in ToCo's."""

import re
from collections.abc import Mapping
from typing import NamedTuple, Union

import torch
from torch import Tensor

from ...utils.checks import first_few

State = Mapping[str, Tensor]
#: Our names and those of another project, or of the tensors that are packed into one of ours, in their order. `{b}`
#: counts blocks, `{leaf}` is weight or bias.
Names = Mapping[str, Union[str, tuple[str, ...]]]

TIMM_NAMES: Names = {
    'cls_token': 'cls_token',
    'pos_embed': 'pos_embed',
    'patch_embed.projection.{leaf}': 'patch_embed.proj.{leaf}',
    'layers.{b}.ln1.{leaf}': 'blocks.{b}.norm1.{leaf}',
    'layers.{b}.attn.attn.in_proj_{leaf}': 'blocks.{b}.attn.qkv.{leaf}',
    'layers.{b}.attn.attn.out_proj.{leaf}': 'blocks.{b}.attn.proj.{leaf}',
    'layers.{b}.ln2.{leaf}': 'blocks.{b}.norm2.{leaf}',
    'layers.{b}.ffn.layers.0.0.{leaf}': 'blocks.{b}.mlp.fc1.{leaf}',
    'layers.{b}.ffn.layers.1.{leaf}': 'blocks.{b}.mlp.fc2.{leaf}',
    'ln1.{leaf}': 'norm.{leaf}',
}
_HF = 'encoder.layer.{b}'
HUGGING_FACE_VIT_NAMES: Names = {
    'cls_token': 'embeddings.cls_token',
    'pos_embed': 'embeddings.position_embeddings',
    'patch_embed.projection.{leaf}': 'embeddings.patch_embeddings.projection.{leaf}',
    'layers.{b}.ln1.{leaf}': f'{_HF}.layernorm_before.{{leaf}}',
    'layers.{b}.attn.attn.in_proj_{leaf}': tuple(
        f'{_HF}.attention.attention.{name}.{{leaf}}' for name in ('query', 'key', 'value')
    ),
    'layers.{b}.attn.attn.out_proj.{leaf}': f'{_HF}.attention.output.dense.{{leaf}}',
    'layers.{b}.ln2.{leaf}': f'{_HF}.layernorm_after.{{leaf}}',
    'layers.{b}.ffn.layers.0.0.{leaf}': f'{_HF}.intermediate.dense.{{leaf}}',
    'layers.{b}.ffn.layers.1.{leaf}': f'{_HF}.output.dense.{{leaf}}',
    'ln1.{leaf}': 'layernorm.{leaf}',
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
#: ToCo's last layers have rows of this length, and a tensor that says so.
MAGNITUDE = '.last_layer.weight_g'


class ViTLayout(NamedTuple):
    """A way to name the weights of a Vision Transformer.

    Args:
        title: What users know it as.
        marker: Tensor that a state dict of this layout has, and of no other.
        names: See `Names`.
        prefixes: What may stand in front of every name of the network.
        left_out: Pattern of names that are no part of our network.
    """

    title: str
    marker: str
    names: Names
    prefixes: tuple[str, ...]
    left_out: str


VIT_LAYOUTS = (
    ViTLayout('ToCo', 'encoder.patch_embed.proj.weight', TOCO_NAMES, ('', 'module.'), r'encoder\.head\.'),
    ViTLayout('timm or DeiT', 'patch_embed.proj.weight', TIMM_NAMES, ('', 'module.'), r'(head|pre_logits)\.'),
    ViTLayout(
        'Hugging Face ViT',
        'embeddings.patch_embeddings.projection.weight',
        HUGGING_FACE_VIT_NAMES,
        ('', 'vit.', 'deit.'),
        r'(classifier|pooler)\.',
    ),
)


def find_vit_layout(state: State) -> tuple[ViTLayout, str]:
    """Return the layout of a state dict and its prefix.

    Raises:
        ValueError: It has none of the known layouts.
    """
    for layout in VIT_LAYOUTS:
        for prefix in layout.prefixes:
            if f'{prefix}{layout.marker}' in state:
                return layout, prefix
    known = ''.join(f'\n    {layout.title}: has {layout.marker}' for layout in VIT_LAYOUTS)
    raise ValueError(
        f'no known layout of a Vision Transformer; its keys: {first_few(list(state))}\n  Known are:{known}'
    )


def convert_vit(state: State) -> dict[str, Tensor]:
    """Rename and pack weights for `AttnVisionTransformer`, or for the segmentor `ToCo` where they are ToCo's.

    Raises:
        ValueError: The layout is unknown, or a tensor is missing or unexpected, or ToCo's has another magnitude than 1.
    """
    layout, prefix = find_vit_layout(state)
    state = {key.removeprefix(prefix): value for key, value in state.items()}
    tensors = {key: x for key, x in state.items() if not re.match(layout.left_out, key) and not key.endswith(MAGNITUDE)}
    if any((x != 1).any() for key, x in state.items() if key.endswith(MAGNITUDE)):
        raise ValueError(f'rows of *{MAGNITUDE} must be of length 1, as ToCo trains them')
    names = _expand(layout.names, _count(tensors, r'norm1|layernorm_before'))
    _check(tensors, [name for parts in names.values() for name in parts], layout.title)
    return {key: torch.cat([tensors[name] for name in parts]) for key, parts in names.items()}


def to_toco(state: State) -> dict[str, Tensor]:
    """Rename the weights of our segmentor `ToCo` as ToCo's network has them, but for the unused `encoder.head`.

    Raises:
        ValueError: A tensor is missing or unexpected.
    """
    names = _expand(TOCO_NAMES, _count(state, 'ln1'))
    _check(state, list(names), 'the segmentor ToCo')
    converted = {theirs[0]: state[ours].clone() for ours, theirs in names.items()}
    rows = {key: value for key, value in converted.items() if key.endswith('.last_layer.weight_v')}
    return {**converted, **{f'{key[:-1]}g': value.new_ones(len(value), 1) for key, value in rows.items()}}


def _expand(names: Names, blocks: int) -> dict[str, tuple[str, ...]]:
    """Fill block numbers and leaves in; the tensors that each of ours is made from."""
    return {
        ours.format(b=b, leaf=leaf): tuple(name.format(b=b, leaf=leaf) for name in ((x,) if isinstance(x, str) else x))
        for ours, x in names.items()
        for b in range(blocks)
        for leaf in ('weight', 'bias')
    }


def _count(tensors: State, norm: str) -> int:
    """Count the blocks by the tensors of their first norms."""
    return sum(1 for key in tensors if re.search(rf'\.\d+\.({norm})\.weight$', key))


def _check(tensors: State, expected: list[str], title: str) -> None:
    faults = dict(missing=set(expected) - set(tensors), unexpected=set(tensors) - set(expected))
    if any(faults.values()):
        lines = [f'{what}: {first_few(sorted(names))}' for what, names in faults.items() if names]
        raise ValueError(f'tensors do not fit {title}:\n    ' + '\n    '.join(lines))
