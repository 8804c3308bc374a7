"""Transformer blocks with readable attention on top of any backbone."""

from typing import Any, Optional

import torch
from mmengine.model import BaseModule, ModuleList
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm  # private there, but what mmseg's own backbones use
from mmseg.models.backbones.mit import TransformerEncoderLayer
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.checkpoints import read_state
from ...utils.checks import first_few, import_extra
from .attention import Attention, check_size
from .attn_mit import run_block


@MODELS.register_module()
class AttentionBackbone(BaseModule):
    """Append pre-norm Transformer blocks to a pretrained backbone and expose their queries and keys.

    Any backbone of mmseg, mmpretrain or timm that returns a tuple of maps can stand below; the blocks work on its last
    map. They are SegFormer's (Xie et al., NeurIPS 2021), whose depthwise convolution supplies position, so that no
    embedding is needed and the image size is free. Parameters of the blocks start with `attention_`, those of the
    backbone below with `backbone.`, for `paramwise_cfg`.

    Args:
        backbone: Config of the backbone below.
        in_channels: Channels of its last map.
        stride: Stride of its last map in pixels.
        embed_dims: Width of the blocks; by default `in_channels`, otherwise a 1x1 convolution projects to it.
        num_blocks: Number of blocks; all of them expose their attention. 0 only projects and normalises the map.
        num_heads: Attention heads of each block.
        mlp_ratio: Hidden width of a block's feed-forward part, in multiples of `embed_dims`.
        drop_path_rate: Stochastic depth of the blocks.
        round_up: Whether the grid is ceil(size / stride), as with padded convolutions, or floor, as with patches.
        norm_eval: Whether batch norm below keeps its pretrained statistics in training.
        freeze_norm: Whether weights and biases of batch norm below are fixed.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)` loads a local file into the backbone below, timm's names
            included; a URL belongs in the `init_cfg` of `backbone`.

    Shape:
        Input (B, 3, H, W); output the maps of the backbone below, the last one replaced by (B, embed_dims, h, w).

    Raises:
        ValueError: `embed_dims` is no multiple of `num_heads`, the last map is not what `in_channels`, `stride` and
            `round_up` announce, an image is smaller than the stride, or a pretrained file lacks tensors.
        FileNotFoundError: `init_cfg` names a file that does not exist (on `init_weights`).
        ModuleNotFoundError: `backbone` is a `TIMMBackbone` and timm is not installed.
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: int,
        stride: int = 16,
        embed_dims: Optional[int] = None,
        num_blocks: int = 2,
        num_heads: int = 8,
        mlp_ratio: int = 4,
        drop_path_rate: float = 0.1,
        round_up: bool = True,
        norm_eval: bool = True,
        freeze_norm: bool = True,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        width = embed_dims or in_channels
        if width % num_heads or num_blocks < 0:
            raise ValueError(
                f'AttentionBackbone: embed_dims={width} must be a multiple of num_heads={num_heads}, and '
                f'num_blocks={num_blocks} at least 0'
            )
        if str(backbone.get('type')).endswith('TIMMBackbone'):
            import_extra('timm', 'timm')
        self.backbone = MODELS.build(backbone)
        self.in_channels, self.stride, self.round_up, self.norm_eval = in_channels, stride, round_up, norm_eval
        self.attention_embed = nn.Conv2d(in_channels, width, 1) if width != in_channels else nn.Identity()
        norm_cfg = dict(type='LN', eps=1e-6)
        self.attention_blocks = ModuleList(
            TransformerEncoderLayer(
                width, num_heads, mlp_ratio * width, drop_path_rate=drop_path_rate, norm_cfg=norm_cfg
            )
            for _ in range(num_blocks)
        )
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        if freeze_norm:
            for norm in self._batch_norms():
                norm.requires_grad_(False)

    @property
    def min_size(self) -> int:
        """Smallest image side in pixels: one cell of the last map."""
        return self.stride

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the last map for an image of this size in pixels."""
        extra = self.stride - 1 if self.round_up else 0
        return (height + extra) // self.stride, (width + extra) // self.stride

    def train(self, mode: bool = True) -> 'AttentionBackbone':
        """Set the mode; batch norm of the backbone below stays in evaluation mode with `norm_eval`."""
        super().train(mode)
        if self.norm_eval:
            for norm in self._batch_norms():
                norm.eval()
        return self

    def init_weights(self) -> None:
        """Initialise the backbone below, from `init_cfg`'s pretrained file where there is one."""
        config: dict[str, Any] = self.init_cfg or {}
        if config.get('checkpoint') is None:
            super().init_weights()
        else:
            try:
                load_pretrained(self.backbone, config['checkpoint'], config.get('prefix') or '')
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f'{error}\n  (`init_cfg.checkpoint` of AttentionBackbone). See docs/weights.md; for example: '
                    'afa weights efficientnet-lite2'
                ) from error

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps."""
        return self.forward_with_attention(x)[0]

    def forward_with_attention(self, x: Tensor) -> tuple[tuple[Tensor, ...], list[Attention]]:
        """Return the feature maps, and the attention of every block on the last map's grid."""
        check_size(x, self.min_size)
        grid = self.grid_size(*x.shape[-2:])
        if not x.is_cuda:  # oneDNN's depthwise convolutions are faster so
            x = x.contiguous(memory_format=torch.channels_last)
        *features, last = self.backbone(x)
        if last.shape[1:] != (self.in_channels, *grid):
            raise ValueError(
                f'AttentionBackbone: the last map has shape {tuple(last.shape[1:])}, but in_channels='
                f'{self.in_channels}, stride={self.stride}, round_up={self.round_up} announce '
                f'{(self.in_channels, *grid)}'
            )
        tokens, attentions = nchw_to_nlc(self.attention_embed(last)), []  # (B, N, C)
        tokens = tokens.to(self.attention_norm.weight.dtype)  # residual sums stay in float32 under autocast
        for block in self.attention_blocks:
            tokens, attention = run_block(block, tokens, grid)
            attentions.append(attention)
        return (*features, nlc_to_nchw(self.attention_norm(tokens), grid)), attentions

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]


def load_pretrained(backbone: nn.Module, file: str, prefix: str = '') -> None:
    """Load a local checkpoint of a classifier into its backbone; tensors of the classifier are left out.

    Args:
        backbone: Module to load into. Names of a `TIMMBackbone` lack their `timm_model.` in the file.
        file: Checkpoint of tensors and plain values.
        prefix: What precedes the backbone's names in the file, without the dot.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: Tensors are missing or have another shape.
    """
    start = f'{prefix.rstrip(".")}.' if prefix else ''
    state = {key[len(start) :]: value for key, value in read_state(file).items() if key.startswith(start)}
    own = backbone.state_dict()
    if hasattr(backbone, 'timm_model'):
        state = {key if key in own else f'timm_model.{key}': value for key, value in state.items()}
    state = {key: value for key, value in state.items() if key in own}
    missing = [key for key in own if key not in state and not key.endswith('num_batches_tracked')]
    wrong = [key for key, value in state.items() if value.shape != own[key].shape]
    if missing or wrong:
        raise ValueError(
            f'pretrained weights do not fit: {file} (`init_cfg.checkpoint` of AttentionBackbone) lacks '
            f'{len(missing)} tensors of the backbone ({first_few(missing) or "-"}); {len(wrong)} have another shape '
            f'({first_few(wrong) or "-"}). Name the file of this architecture, or set init_cfg.prefix'
        )
    with torch.no_grad():
        backbone.load_state_dict(state, strict=False)
