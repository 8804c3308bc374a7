"""Names of weights in other projects, as tables of patterns, and the layout of a state dict."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import NamedTuple, Union

from torch import Tensor

from ...utils.checks import first_few

State = Mapping[str, Tensor]
#: Our names and those of another project, or of the tensors that are packed into one of ours, in their order. `{i}`
#: counts stages from 0, `{n}` from 1, `{b}` the blocks of a stage, `{leaf}` is weight or bias.
Names = Mapping[str, Union[str, tuple[str, ...]]]
#: Prefix of names in a state dict saved from distributed training.
WRAPPER = 'module.'
#: Tensors of batch norm.
BATCH_NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
CLASSIFIER, DECODER = "ImageNet's classifier", 'decode head'


class Layout(NamedTuple):
    """A way to name weights.

    Args:
        title: Name for users.
        marker: Tensor that only state dicts of this layout have.
        names: See `Names`; empty if they are ours.
        prefixes: Possible prefixes of every name.
        left_out: Beginnings of names that are no part of our network, and their purpose.
        is_segmentor: Whether it holds a whole segmentor rather than a backbone.
    """

    title: str
    marker: str
    names: Names = {}
    prefixes: tuple[str, ...] = ('',)
    left_out: Mapping[str, str] = {}
    is_segmentor: bool = False

    def sources(self, num_blocks: Sequence[int]) -> dict[str, tuple[str, ...]]:
        """Return the tensors that each of ours is made from, for the numbers of blocks of the stages."""
        found = {}
        for (ours, theirs), (i, count), leaf in product(self.names.items(), enumerate(num_blocks), ('weight', 'bias')):
            for b in range(count):
                numbers = dict(i=i, n=i + 1, b=b, leaf=leaf)
                parts = (theirs,) if isinstance(theirs, str) else theirs
                found[ours.format(**numbers)] = tuple(part.format(**numbers) for part in parts)
        return found


def find_layout(
    state: State, layouts: Sequence[Layout], network: str
) -> tuple[Layout, dict[str, Tensor], dict[str, str]]:
    """Return the layout of a state dict, its tensors without prefixes, and the purpose of those that are left out.

    Raises:
        ValueError: It has none of the layouts.
    """
    if state and all(key.startswith(WRAPPER) for key in state):
        state = {key[len(WRAPPER) :]: value for key, value in state.items()}
    for layout in layouts:
        for prefix in layout.prefixes:
            if f'{prefix}{layout.marker}' in state:
                tensors = {key.removeprefix(prefix): value for key, value in state.items()}
                left_out = {
                    key: what for key in tensors for start, what in layout.left_out.items() if key.startswith(start)
                }
                return layout, {key: value for key, value in tensors.items() if key not in left_out}, left_out
    known = ''.join(f'\n    {layout.title}: has {layout.marker}' for layout in layouts)
    keys = f'its keys: {first_few(list(state))}' if state else 'it is empty'
    raise ValueError(f'none of the known layouts of a {network}; {keys}\n  Known are:{known}')


def check_names(tensors: State, expected: Collection[str], wrong: Sequence[str] = ()) -> None:
    """Raise a `ValueError` for missing and unexpected tensors, and for the descriptions of other faults."""
    faults = {
        'missing': [key for key in expected if key not in tensors],
        'left over': [key for key in tensors if key not in expected],
        'of another shape': wrong,
    }
    if any(faults.values()):
        lines = [f'{what}: {first_few(names)}' for what, names in faults.items() if names]
        raise ValueError('tensors do not fit:\n    ' + '\n    '.join(lines))


def of_modules(names: Names) -> Names:
    """Complete names of modules to those of their tensors, by `.{leaf}`."""

    def complete(name: str) -> str:
        return name if '{leaf}' in name or name.endswith(BATCH_NORM) else f'{name}.{{leaf}}'

    return {
        complete(ours): complete(theirs) if isinstance(theirs, str) else tuple(map(complete, theirs))
        for ours, theirs in names.items()
    }


NVLABS_NAMES: Names = {
    'layers.{i}.0.projection': 'patch_embed{n}.proj',
    'layers.{i}.0.norm': 'patch_embed{n}.norm',
    'layers.{i}.1.{b}.norm1': 'block{n}.{b}.norm1',
    'layers.{i}.1.{b}.norm2': 'block{n}.{b}.norm2',
    'layers.{i}.1.{b}.attn.attn.in_proj_{leaf}': ('block{n}.{b}.attn.q', 'block{n}.{b}.attn.kv'),
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
    'decode_head.fusion_conv.conv.weight': 'decoder.linear_fuse.conv.weight',
    **{f'decode_head.fusion_conv.bn.{leaf}': f'decoder.linear_fuse.bn.{leaf}' for leaf in BATCH_NORM},
    'decode_head.conv_seg': 'decoder.linear_pred',
    'decode_head.affinity_proj': 'attn_proj',
    'decode_head.classifier.weight': 'classifier.weight',
}
_HF4 = 'encoder.block.{i}.{b}'
HUGGING_FACE_NAMES: Names = {
    'layers.{i}.0.projection': 'encoder.patch_embeddings.{i}.proj',
    'layers.{i}.0.norm': 'encoder.patch_embeddings.{i}.layer_norm',
    'layers.{i}.1.{b}.norm1': f'{_HF4}.layer_norm_1',
    'layers.{i}.1.{b}.norm2': f'{_HF4}.layer_norm_2',
    'layers.{i}.1.{b}.attn.attn.in_proj_{leaf}': tuple(f'{_HF4}.attention.self.{n}' for n in ('query', 'key', 'value')),
    'layers.{i}.1.{b}.attn.attn.out_proj': f'{_HF4}.attention.output.dense',
    'layers.{i}.1.{b}.attn.sr': f'{_HF4}.attention.self.sr',
    'layers.{i}.1.{b}.attn.norm': f'{_HF4}.attention.self.layer_norm',
    'layers.{i}.1.{b}.ffn.layers.0': f'{_HF4}.mlp.dense1',
    'layers.{i}.1.{b}.ffn.layers.1': f'{_HF4}.mlp.dwconv.dwconv',
    'layers.{i}.1.{b}.ffn.layers.4': f'{_HF4}.mlp.dense2',
    'layers.{i}.2': 'encoder.layer_norm.{i}',
}
LAYOUTS = (
    Layout(
        title="AFA's segmentor (wetr_*.pth)",
        marker='encoder.patch_embed1.proj.weight',
        names=of_modules(AFA_NAMES),
        is_segmentor=True,
    ),
    Layout(
        title="NVlabs' SegFormer (mit_b*.pth)",
        marker='patch_embed1.proj.weight',
        names=of_modules(NVLABS_NAMES),
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
        names=of_modules(HUGGING_FACE_NAMES),
        prefixes=('', 'segformer.'),
        left_out={'classifier.': CLASSIFIER, 'decode_head.': DECODER},
    ),
)
AFA = LAYOUTS[0]
