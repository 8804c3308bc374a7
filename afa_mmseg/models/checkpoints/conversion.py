"""Conversion of Mix Transformers: of other projects to ours, ours to AFA's."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from ...utils.checks import first_few
from .architecture import Architecture, find_architecture
from .layouts import AFA, LAYOUTS, Layout, State, check_names, find_layout

#: Modules of ours that are 1x1 convolutions and linear layers elsewhere: the weights differ in two axes of length 1.
LINEAR = re.compile(r'(ffn\.layers\.[04]|projections\.\d)\.weight$')
#: Modules that the last stage lacks, which does not reduce its tokens.
REDUCTION = re.compile(r'layers\.3\.1\.\d+\.attn\.(sr|norm)\.')


class Weights(NamedTuple):
    """A state dict whose layout is known.

    Args:
        layout: Layout of the source.
        architecture: Size of the backbone.
        state: Tensors without prefixes and without what is left out; after `convert` in our layout, those of our
            backbone, or of our segmentor if `layout.is_segmentor`.
        left_out: Tensors that our network lacks, with their purpose.
    """

    layout: Layout
    architecture: Architecture
    state: dict[str, Tensor]
    left_out: dict[str, str]


def recognise(state: State) -> Weights:
    """Find the layout and architecture of a state dict.

    Raises:
        ValueError: It has none of the known layouts, or not the stages of a Mix Transformer.
    """
    layout, tensors, left_out = find_layout(state, LAYOUTS, 'Mix Transformer')
    return Weights(layout, find_architecture(layout, tensors), tensors, left_out)


def convert(state: State) -> Weights:
    """Rename and pack tensors into our backbone, or our whole segmentor; shapes are compared when a network loads them.

    Args:
        state: Any of `LAYOUTS`, with or without the prefix of distributed training.

    Raises:
        ValueError: The layout is unknown, or tensors are missing or left over.
    """
    source = recognise(state)
    layout, architecture, tensors, _ = source
    names = _sources(layout, architecture) if layout.names else {key: (key,) for key in tensors}
    check_names(tensors, [name for theirs in names.values() for name in theirs])
    parts = {key: [tensors[name] for name in theirs] for key, theirs in names.items()}
    converted = {key: torch.cat(part) if len(part) > 1 else part[0].clone() for key, part in parts.items()}
    for key, value in converted.items():
        if LINEAR.search(key) and value.ndim == 2:
            converted[key] = value[..., None, None]
    return source._replace(state=converted)


def to_afa(state: State) -> dict[str, Tensor]:
    """Rename and unpack tensors of our segmentor for AFA: the inverse of `convert`.

    Args:
        state: State dict of an `AFA`.

    Raises:
        ValueError: It is none, or tensors are missing or left over.
    """
    if 'decode_head.affinity_proj.weight' not in state:
        raise ValueError(
            'only a whole segmentor of ours can be written for AFA, and this is none: no '
            f'decode_head.affinity_proj.weight; its keys: {first_few(list(state))}'
        )
    names = _sources(AFA, recognise(state).architecture)
    check_names(state, names)
    unpacked: dict[str, Tensor] = {}
    for key, theirs in names.items():
        value = state[key].flatten(1) if LINEAR.search(key) else state[key]
        parts = [value] if len(theirs) == 1 else value.tensor_split((len(value) // 3,))  # queries; keys and values
        unpacked.update(zip(theirs, (part.clone() for part in parts)))
    return unpacked


def _sources(layout: Layout, architecture: Architecture) -> dict[str, tuple[str, ...]]:
    found = layout.sources(architecture.num_layers)
    return {ours: theirs for ours, theirs in found.items() if not REDUCTION.search(ours)}
