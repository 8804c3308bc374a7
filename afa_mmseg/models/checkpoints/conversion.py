"""Conversion of Mix Transformers: of other projects to ours, ours to AFA's."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from ...utils.checks import first_few
from .architecture import Architecture, Shapes, backbone_shapes, find_architecture, segmentor_shapes
from .layouts import AFA, LAYOUTS, Layout, State, check_names, find_layout

#: Modules of ours that are 1x1 convolutions and linear layers elsewhere: the weights differ in two axes of length 1.
LINEAR = re.compile(r'(ffn\.layers\.[04]|projections\.\d)\.weight$')
#: Rows of the parts of a packed tensor, by their number: q and kv, or q, k and v.
ROWS = {1: (1,), 2: (1, 2), 3: (1, 1, 1)}


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
        ValueError: It has none of the known layouts, or not the shapes of a Mix Transformer.
    """
    layout, tensors, left_out = find_layout(state, LAYOUTS, 'Mix Transformer')
    return Weights(layout, find_architecture(layout, tensors), tensors, left_out)


def convert(state: State) -> Weights:
    """Rename and pack tensors into our backbone, or our whole segmentor.

    Args:
        state: Any of `LAYOUTS`, with or without the prefix of distributed training.

    Raises:
        ValueError: The layout is unknown, tensors are missing or left over, or a shape is wrong.
    """
    source = recognise(state)
    layout, architecture, tensors, _ = source
    if layout.is_segmentor:
        shapes = _segmentor_shapes(architecture, tensors, 'decoder.linear_pred.weight')
    else:
        shapes = backbone_shapes(architecture)
    sources = layout.sources(architecture.num_layers) if layout.names else {key: (key,) for key in shapes}
    blank = {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}
    check_shapes(tensors, {name: tuple(part.shape) for name, part in unpack(layout, architecture, blank).items()})
    parts = {key: [tensors[name] for name in sources[key]] for key in shapes}
    packed = {key: torch.cat(part) if len(part) > 1 else part[0].clone() for key, part in parts.items()}
    converted = {key: value.reshape(shapes[key]) for key, value in packed.items()}
    return source._replace(state=converted)


def to_afa(state: State) -> dict[str, Tensor]:
    """Rename and unpack tensors of our segmentor for AFA: the inverse of `convert`.

    Args:
        state: State dict of an `AFA`.

    Raises:
        ValueError: It is none, tensors are missing or left over, or a shape is wrong.
    """
    if 'decode_head.affinity_proj.weight' not in state:
        raise ValueError(
            'only a whole segmentor of ours can be written for AFA, and this is none: no '
            f'decode_head.affinity_proj.weight; its keys: {first_few(list(state))}'
        )
    backbone = {key[len('backbone.') :]: value for key, value in state.items() if key.startswith('backbone.')}
    architecture = recognise(backbone).architecture
    check_shapes(state, _segmentor_shapes(architecture, state, 'decode_head.conv_seg.weight'))
    return {name: part.clone() for name, part in unpack(AFA, architecture, state).items()}


def unpack(layout: Layout, architecture: Architecture, state: State) -> dict[str, Tensor]:
    """Rename and unpack tensors of ours for another layout."""
    if not layout.names:
        return dict(state)
    sources = layout.sources(architecture.num_layers)
    unpacked: dict[str, Tensor] = {}
    for key, value in state.items():
        names, value = sources[key], value.flatten(1) if LINEAR.search(key) else value
        rows = [value.shape[0] // sum(ROWS[len(names)]) * part for part in ROWS[len(names)]] if len(names) > 1 else []
        unpacked.update(zip(names, value.split(rows) if rows else [value]))
    return unpacked


def check_shapes(tensors: State, expected: Shapes) -> None:
    """Raise a `ValueError` unless there is a tensor of each expected shape, and no other."""
    wrong = [
        f'{key} is {tuple(tensors[key].shape)}, expected {shape}'
        for key, shape in expected.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    check_names(tensors, expected, wrong)


def _segmentor_shapes(architecture: Architecture, tensors: State, last_layer: str) -> Shapes:
    """Shapes of our segmentor, its size from the last layer of the decode head."""
    if last_layer not in tensors or tensors[last_layer].ndim != 4:
        raise ValueError(f'no {last_layer}, which has the number of classes: is this a whole segmentor?')
    num_classes, channels = tensors[last_layer].shape[:2]
    return segmentor_shapes(architecture, channels, num_classes)
