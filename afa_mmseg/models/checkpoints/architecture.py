"""Size of the Mix Transformer in a state dict, from its shapes."""

from collections.abc import Mapping
from itertools import count
from typing import NamedTuple, Optional

from torch import Tensor

from ...utils.checks import first_few
from ..backbones.presets import ARCHITECTURES
from .layouts import Layout

NUM_HEADS = (1, 2, 5, 8)


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
