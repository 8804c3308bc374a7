"""Conversion of state dicts: of other projects to ours, ours to AFA's."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ...utils.checks import first_few
from .architecture import Architecture, Shapes, backbone_shapes, find_architecture, segmentor_shapes
from .layouts import AFA, LAYOUTS, Layout

State = Mapping[str, Tensor]


class Converted(NamedTuple):
    """A state dict in our layout.

    Args:
        layout: Layout of the source.
        architecture: Size of the backbone.
        state: Tensors of our backbone, or of our segmentor if `layout.is_segmentor`.
        left_out: Tensors that our network lacks, with their purpose.
    """

    layout: Layout
    architecture: Architecture
    state: dict[str, Tensor]
    left_out: dict[str, str]


class Recognised(NamedTuple):
    """A state dict whose layout is known.

    Args:
        layout: Layout.
        architecture: Size of the backbone.
        tensors: State dict without prefixes and without what is left out.
        left_out: Tensors that our network lacks, with their purpose.
    """

    layout: Layout
    architecture: Architecture
    tensors: dict[str, Tensor]
    left_out: dict[str, str]


def recognise(state: State) -> Recognised:
    """Find the layout and architecture of a state dict.

    Raises:
        ValueError: It has none of the known layouts, or not the shapes of a Mix Transformer.
    """
    if state and all(key.startswith('module.') for key in state):  # saved from distributed training
        state = {key[len('module.') :]: value for key, value in state.items()}
    for layout in LAYOUTS:
        for prefix in layout.prefixes:
            if f'{prefix}{layout.marker}' in state:
                tensors = {key[len(prefix) :] if key.startswith(prefix) else key: v for key, v in state.items()}
                left_out = {
                    key: what for key in tensors for start, what in layout.left_out.items() if key.startswith(start)
                }
                tensors = {key: value for key, value in tensors.items() if key not in left_out}
                return Recognised(layout, find_architecture(layout, tensors), tensors, left_out)
    known = ''.join(f'\n    {layout.title}: has {layout.marker}' for layout in LAYOUTS)
    keys = f'its keys: {first_few(list(state))}' if state else 'it is empty'
    raise ValueError(f'none of the known layouts of a Mix Transformer; {keys}\n  Known are:{known}')


def convert(state: State) -> Converted:
    """Rename and pack tensors into our backbone, or our whole segmentor.

    Args:
        state: Any of `LAYOUTS`, with or without the prefix of distributed training.

    Raises:
        ValueError: The layout is unknown, tensors are missing or left over, or a shape is wrong.
    """
    layout, architecture, tensors, left_out = recognise(state)
    if layout.is_segmentor:
        shapes = _segmentor_shapes(architecture, tensors, 'decoder.linear_pred.weight')
    else:
        shapes = backbone_shapes(architecture)
    sources = {key: layout.sources(key, shape) for key, shape in shapes.items()}
    check_shapes(tensors, {name: shape for parts in sources.values() for name, shape in parts})
    converted = {
        key: torch.cat([tensors[name] for name, _ in parts]) if len(parts) > 1 else tensors[parts[0].name].clone()
        for key, parts in sources.items()
    }
    converted = {key: value.reshape(shapes[key]) for key, value in converted.items()}
    return Converted(layout, architecture, converted, left_out)


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
    shapes = _segmentor_shapes(recognise(backbone).architecture, state, 'decode_head.conv_seg.weight')
    check_shapes(state, shapes)
    converted = {}
    for key, shape in shapes.items():
        sources = AFA.sources(key, shape)
        parts = state[key].split([part.shape[0] for part in sources]) if len(sources) > 1 else [state[key]]
        converted.update({name: part.clone().reshape(shape) for (name, shape), part in zip(sources, parts)})
    return converted


def check_shapes(tensors: State, expected: Shapes) -> None:
    """Raise a `ValueError` unless there is a tensor of each expected shape, and no other."""
    missing = [key for key in expected if key not in tensors]
    left_over = [key for key in tensors if key not in expected]
    wrong = [
        f'{key} is {tuple(tensors[key].shape)}, expected {shape}'
        for key, shape in expected.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    problems = {'missing': missing, 'left over': left_over, 'of another shape': wrong}
    if any(problems.values()):
        lines = [f'{what}: {first_few(names)}' for what, names in problems.items() if names]
        raise ValueError('tensors do not fit:\n    ' + '\n    '.join(lines))


def _segmentor_shapes(architecture: Architecture, tensors: State, last_layer: str) -> Shapes:
    """Shapes of our segmentor, its size from the last layer of the decode head."""
    if last_layer not in tensors or tensors[last_layer].ndim != 4:
        raise ValueError(f'no {last_layer}, which has the number of classes: is this a whole segmentor?')
    num_classes, channels = tensors[last_layer].shape[:2]
    return segmentor_shapes(architecture, channels, num_classes)
