"""Names of Mix Transformer weights in other projects, as tables of patterns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Union

#: A module's name in another layout, or the names of those that are packed into one of ours, in their order.
#: `{i}` counts stages from 0, `{n}` from 1, `{b}` counts the blocks of a stage.
Names = Mapping[str, Union[str, tuple[str, ...]]]

NVLABS_NAMES: Names = {
    'layers.{i}.0.projection': 'patch_embed{n}.proj',
    'layers.{i}.0.norm': 'patch_embed{n}.norm',
    'layers.{i}.1.{b}.norm1': 'block{n}.{b}.norm1',
    'layers.{i}.1.{b}.norm2': 'block{n}.{b}.norm2',
    'layers.{i}.1.{b}.attn.attn.in_proj': ('block{n}.{b}.attn.q', 'block{n}.{b}.attn.kv'),
    'layers.{i}.1.{b}.attn.attn.out_proj': 'block{n}.{b}.attn.proj',
    'layers.{i}.1.{b}.attn.sr': 'block{n}.{b}.attn.sr',
    'layers.{i}.1.{b}.attn.norm': 'block{n}.{b}.attn.norm',
    'layers.{i}.1.{b}.ffn.layers.0': 'block{n}.{b}.mlp.fc1',
    'layers.{i}.1.{b}.ffn.layers.1': 'block{n}.{b}.mlp.dwconv.dwconv',
    'layers.{i}.1.{b}.ffn.layers.4': 'block{n}.{b}.mlp.fc2',
    'layers.{i}.2': 'norm{n}',
}
AFA_NAMES: Names = {
    **{
        f'backbone.{ours}': f'encoder.{name}' if isinstance(name, str) else tuple(f'encoder.{part}' for part in name)
        for ours, name in NVLABS_NAMES.items()
    },
    'decode_head.projections.{i}': 'decoder.linear_c{n}.proj',
    'decode_head.fusion_conv': 'decoder.linear_fuse',
    'decode_head.conv_seg': 'decoder.linear_pred',
    'decode_head.affinity_proj': 'attn_proj',
    'decode_head.classifier': 'classifier',
}
_HF4 = 'encoder.block.{i}.{b}'
HUGGING_FACE_NAMES: Names = {
    'layers.{i}.0.projection': 'encoder.patch_embeddings.{i}.proj',
    'layers.{i}.0.norm': 'encoder.patch_embeddings.{i}.layer_norm',
    'layers.{i}.1.{b}.norm1': f'{_HF4}.layer_norm_1',
    'layers.{i}.1.{b}.norm2': f'{_HF4}.layer_norm_2',
    'layers.{i}.1.{b}.attn.attn.in_proj': tuple(f'{_HF4}.attention.self.{n}' for n in ('query', 'key', 'value')),
    'layers.{i}.1.{b}.attn.attn.out_proj': f'{_HF4}.attention.output.dense',
    'layers.{i}.1.{b}.attn.sr': f'{_HF4}.attention.self.sr',
    'layers.{i}.1.{b}.attn.norm': f'{_HF4}.attention.self.layer_norm',
    'layers.{i}.1.{b}.ffn.layers.0': f'{_HF4}.mlp.dense1',
    'layers.{i}.1.{b}.ffn.layers.1': f'{_HF4}.mlp.dwconv.dwconv',
    'layers.{i}.1.{b}.ffn.layers.4': f'{_HF4}.mlp.dense2',
    'layers.{i}.2': 'encoder.layer_norm.{i}',
}
_HF5 = 'stages.{i}.blocks.{b}'
TRANSFORMERS_5_NAMES: Names = {
    'layers.{i}.0.projection': 'stages.{i}.patch_embeddings.proj',
    'layers.{i}.0.norm': 'stages.{i}.patch_embeddings.layer_norm',
    'layers.{i}.1.{b}.norm1': f'{_HF5}.layernorm_before',
    'layers.{i}.1.{b}.norm2': f'{_HF5}.layernorm_after',
    'layers.{i}.1.{b}.attn.attn.in_proj': tuple(f'{_HF5}.attention.{n}_proj' for n in 'qkv'),
    'layers.{i}.1.{b}.attn.attn.out_proj': f'{_HF5}.attention.o_proj',
    'layers.{i}.1.{b}.attn.sr': f'{_HF5}.attention.sequence_reduction.sequence_reduction',
    'layers.{i}.1.{b}.attn.norm': f'{_HF5}.attention.sequence_reduction.layer_norm',
    'layers.{i}.1.{b}.ffn.layers.0': f'{_HF5}.mlp.fc1',
    'layers.{i}.1.{b}.ffn.layers.1': f'{_HF5}.mlp.dwconv.dwconv',
    'layers.{i}.1.{b}.ffn.layers.4': f'{_HF5}.mlp.fc2',
    'layers.{i}.2': 'stages.{i}.layer_norm',
}
#: Modules of ours that are 1x1 convolutions and linear layers elsewhere: the weights differ in two axes of length 1.
LINEAR = re.compile(r'(ffn\.layers\.[04]|projections\.\d)\.weight$')


class Source(NamedTuple):
    """A tensor of another layout: its name and its shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """A way to name weights.

    Args:
        title: What a user knows it as.
        marker: Tensor that a state dict of this layout has, and of no other.
        names: Our modules' names and theirs; empty if they are the same.
        prefixes: What may stand in front of every name.
        left_out: Beginnings of names that are no part of our network, and what they are.
        is_segmentor: Whether it holds a whole segmentor rather than a backbone.
    """

    title: str
    marker: str
    names: Names = field(default_factory=dict)
    prefixes: tuple[str, ...] = ('',)
    left_out: Mapping[str, str] = field(default_factory=dict)
    is_segmentor: bool = False

    def sources(self, key: str, shape: tuple[int, ...]) -> list[Source]:
        """Name the tensors that one of ours is made from, in the order in which they are packed.

        Raises:
            KeyError: No pattern of this layout fits `key`.
        """
        if not self.names:
            return [Source(key, shape)]
        numbers, names, leaf = self._find(key.replace('in_proj_', 'in_proj.'))
        if LINEAR.search(key):
            shape = shape[:2]
        if len(names) == 1:
            return [Source(f'{names[0].format(**numbers)}.{leaf}', shape)]
        width = shape[0] // 3
        rows = (width, 2 * width) if len(names) == 2 else (width,) * 3  # q, kv or q, k, v
        return [Source(f'{name.format(**numbers)}.{leaf}', (row, *shape[1:])) for name, row in zip(names, rows)]

    def _find(self, key: str) -> tuple[dict[str, int], tuple[str, ...], str]:
        for pattern, names in self.names.items():
            pattern = pattern.replace('.', r'\.').replace('{i}', r'(?P<i>\d)').replace('{b}', r'(?P<b>\d+)')
            match = re.match(rf'{pattern}\.(?P<leaf>.+)', key)
            if match:
                groups = match.groupdict()
                leaf = groups.pop('leaf')
                numbers = {name: int(value) for name, value in groups.items()}
                numbers['n'] = numbers.get('i', 0) + 1
                return numbers, (names,) if isinstance(names, str) else names, leaf
        raise KeyError(f'no pattern of the layout "{self.title}" fits {key}')


CLASSIFIER = "ImageNet's classifier"
DECODER = 'decode head'
LAYOUTS = (
    Layout(
        title="AFA's segmentor (wetr_*.pth)",
        marker='encoder.patch_embed1.proj.weight',
        names=AFA_NAMES,
        is_segmentor=True,
    ),
    Layout(
        title="NVlabs' SegFormer (mit_b*.pth)",
        marker='patch_embed1.proj.weight',
        names=NVLABS_NAMES,
        prefixes=('', 'backbone.'),
        left_out={'head.': CLASSIFIER, 'decode_head.': DECODER},
    ),
    Layout(
        title="mmseg's MiT",
        marker='layers.0.0.projection.weight',
        prefixes=('', 'backbone.'),
        left_out={'decode_head.': DECODER, 'auxiliary_head.': DECODER, 'head.': CLASSIFIER},
    ),
    Layout(
        title="Hugging Face's SegFormer (nvidia/mit-b*)",
        marker='encoder.patch_embeddings.0.proj.weight',
        names=HUGGING_FACE_NAMES,
        prefixes=('', 'segformer.'),
        left_out={'classifier.': CLASSIFIER, 'decode_head.': DECODER},
    ),
    Layout(
        title="state dict of transformers 5's SegFormer",
        marker='stages.0.patch_embeddings.proj.weight',
        names=TRANSFORMERS_5_NAMES,
        prefixes=('', 'segformer.'),
        left_out={'classifier.': CLASSIFIER, 'decode_head.': DECODER},
    ),
)
AFA = LAYOUTS[0]
