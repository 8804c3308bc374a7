"""Size of the Mix Transformer in a state dict, from its shapes, and the shapes of our network of that size."""

from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple, Optional

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...utils.checks import first_few
from ..backbones.presets import ARCHITECTURES
from .layouts import Layout

NUM_HEADS = (1, 2, 5, 8)
Shapes = dict[str, tuple[int, ...]]


class Architecture(NamedTuple):
    """Size of a Mix Transformer.

    Args:
        embed_dims: Channels per attention head.
        num_layers: Blocks of each stage.
    """

    embed_dims: int
    num_layers: tuple[int, ...]

    @property
    def preset(self) -> Optional[str]:
        """Name among the presets, 'b0' to 'b5', if it has one."""
        names = [name for name, preset in ARCHITECTURES.items() if preset == self._asdict()]
        return names[0] if names else None

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed_dims * heads for heads in NUM_HEADS)

    @property
    def setting(self) -> str:
        """Value in a config."""
        return repr(self.preset) if self.preset else f'dict(embed_dims={self.embed_dims}, num_layers={self.num_layers})'

    def __str__(self) -> str:
        return f'MiT-{self.preset.upper()}' if self.preset else f'MiT of {self.setting[5:-1]}'


def find_architecture(layout: Layout, tensors: Mapping[str, Tensor]) -> Architecture:
    """Return the architecture, from widths and blocks of the stages.

    Args:
        layout: Layout of the tensors.
        tensors: State dict without prefix.

    Raises:
        ValueError: A stage has no patch embedding or no block, or the widths are not those of a Mix Transformer.
    """

    def name_of(key: str, i: int, b: int = 0) -> str:
        ours = f'{"backbone." if layout.is_segmentor else ""}layers.{{i}}.{key}.{{leaf}}'
        return str(layout.names.get(ours, ours)).format(i=i, n=i + 1, b=b, leaf='weight')

    stages = range(len(NUM_HEADS))
    embeddings = [name_of('0.projection', i) for i in stages]
    first_blocks = [name_of('1.{b}.norm1', i) for i in stages]
    missing = [name for name in (*embeddings, *first_blocks) if name not in tensors]
    if missing:
        raise ValueError(f'each stage of a Mix Transformer has a patch embedding and blocks: no {first_few(missing)}')
    widths = [int(tensors[name].shape[0]) if tensors[name].ndim else 0 for name in embeddings]
    if widths != [widths[0] * heads for heads in NUM_HEADS] or not widths[0]:
        raise ValueError(
            f"stages are {', '.join(map(str, widths))} channels wide; a Mix Transformer's widths are "
            f'{", ".join(map(str, NUM_HEADS))} times its embed_dims'
        )
    num_layers = [next(b for b in count(1) if name_of('1.{b}.norm1', i, b) not in tensors) for i in stages]
    return Architecture(widths[0], tuple(num_layers))


def backbone_shapes(architecture: Architecture) -> Shapes:
    """Shapes of all tensors of our backbone."""
    return _shapes(_backbone_config(architecture))


def segmentor_shapes(architecture: Architecture, channels: int, num_classes: int) -> Shapes:
    """Shapes of all tensors of our segmentor.

    Args:
        architecture: Size of the backbone.
        channels: Width of the decode head.
        num_classes: Classes with background.
    """
    head = dict(type='AFAHead', in_channels=architecture.widths, channels=channels, num_classes=num_classes)
    head['norm_cfg'] = dict(type='BN')
    return _shapes(dict(type='AFA', backbone=_backbone_config(architecture), decode_head=head))


def _backbone_config(architecture: Architecture) -> dict:
    return dict(type='AttnMixVisionTransformer', arch=architecture._asdict(), num_heads=NUM_HEADS)


def _shapes(config: dict) -> Shapes:
    """Build a module without memory for its weights."""
    with torch.device('meta'), _ValuesStayReal():
        return {key: tuple(value.shape) for key, value in MODELS.build(config).state_dict().items()}


class _ValuesStayReal(TorchFunctionMode):
    """Keep `linspace` on the CPU: mmseg reads the rates of stochastic depth while it builds a network."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Optional[dict] = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)
