"""SegFormer's Mix Transformer with the queries and keys of its last blocks as a second output."""

import math
from typing import Any, Optional, Union

import torch.nn.functional as F
from mmseg.models.backbones.mit import EfficientMultiheadAttention, MixVisionTransformer, TransformerEncoderLayer
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..checkpoints.pretrained import load_all
from .attention import Attention, check_size
from .presets import ARCHITECTURES

#: What the weights were trained with where it is not 1e-6: patch embedding and spatial reduction.
EMBED_EPS = 1e-5


@MODELS.register_module()
class AttnMixVisionTransformer(MixVisionTransformer):
    """SegFormer's Mix Transformer with stage strides 4, 2, 2, 1 and exposed attention (Ru et al., CVPR 2022).

    Parameter names are mmseg's, so its converted MiT checkpoints load. `forward` is that of any mmseg
    backbone; `forward_with_attention` also returns the attention of the last blocks. Every block runs
    PyTorch's fused attention.

    Args:
        arch: A preset, 'b0' to 'b5', or a dict with `embed_dims` (channels per head) and `num_layers`.
        num_heads: Attention heads of each stage; they also multiply `embed_dims`.
        strides: Downsampling of each stage. The last stage's grid is that of CAM and affinity.
        drop_path_rate: Stochastic depth of the last block; earlier ones have proportionally less.
        num_attentions: Number of last blocks whose attention `forward_with_attention` returns.
        kwargs: Passed to mmseg's `MixVisionTransformer` (`with_cp`, `init_cfg`, `sr_ratios`, ...).

    Shape:
        Input (B, 3, H, W); output a tuple of four maps (B, C_i, H_i, W_i), sizes rounded up.

    Raises:
        ValueError: `arch` is unknown, the last blocks are not all in the last stage or that has spatial
            reduction, an image is smaller than the network supports, or a pretrained file does not fit.
        FileNotFoundError: `init_cfg` names a pretrained file that is not there (on `init_weights`).
    """

    def __init__(
        self,
        arch: Union[str, dict] = 'b1',
        num_heads: tuple = (1, 2, 5, 8),
        strides: tuple = (4, 2, 2, 1),
        drop_path_rate: float = 0.1,
        num_attentions: int = 2,
        **kwargs: Any,
    ) -> None:
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(
                f"arch='{arch}' of AttnMixVisionTransformer is unknown: choose from {', '.join(ARCHITECTURES)} "
                'or write a dict with embed_dims and num_layers'
            )
        preset = ARCHITECTURES[arch] if isinstance(arch, str) else arch
        super().__init__(**{**preset, **kwargs}, num_heads=num_heads, strides=strides, drop_path_rate=drop_path_rate)
        if self.sr_ratios[-1] != 1 or not 0 < num_attentions <= self.num_layers[-1]:
            raise ValueError(
                f'attention can be read from blocks of the last stage only, without spatial reduction: '
                f'num_attentions={num_attentions} with num_layers={self.num_layers}, sr_ratios={self.sr_ratios}'
            )
        self.num_attentions = num_attentions
        for patch_embed, blocks, _ in self.layers:
            patch_embed.norm.eps = EMBED_EPS
            for block in blocks:
                if block.attn.sr_ratio > 1:
                    block.attn.norm.eps = EMBED_EPS

    @property
    def min_size(self) -> int:
        """Smallest image side, in pixels, that every spatial reduction supports."""
        strides = [math.prod(self.strides[: i + 1]) for i in range(self.num_stages)]
        return max(stride * (ratio - 1) + 1 for stride, ratio in zip(strides, self.sr_ratios))

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the last stage's grid for an image of this size in pixels."""
        for stride in self.strides:
            height, width = -(-height // stride), -(-width // stride)
        return height, width

    def init_weights(self) -> None:
        """Initialise, or load all weights from the pretrained file of `init_cfg`."""
        if not load_all(self, self.init_cfg):
            super().init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of the stages in `out_indices`."""
        return self.forward_with_attention(x)[0]

    def forward_with_attention(self, x: Tensor) -> tuple[tuple[Tensor, ...], list[Attention]]:
        """Return the feature maps, and the attention of the last blocks on the last stage's grid."""
        check_size(x, self.min_size)
        features, attentions = [], []
        for stage, (patch_embed, blocks, norm) in enumerate(self.layers):
            x, hw_shape = patch_embed(x)  # (B, N, C)
            x = x.to(norm.weight.dtype)  # under autocast on a CPU blocks would be summed up in half precision
            for block in blocks:
                x, attention = run_block(block, x, hw_shape)
                attentions.append(attention)
            x = nlc_to_nchw(norm(x), hw_shape)  # (B, C, h, w)
            if stage in self.out_indices:
                features.append(x)
            if stage < self.num_stages - 1:
                attentions.clear()
        return tuple(features), attentions[-self.num_attentions :]


def run_block(block: TransformerEncoderLayer, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Attention]:
    """Run one of mmseg's blocks and keep its queries and keys."""

    def run(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, attention = _attend(block.attn, block.norm1(x), hw_shape, identity=x)
        return block.ffn(block.norm2(x), hw_shape, identity=x), *attention

    if block.with_cp and x.requires_grad:
        x, query, key = checkpoint(run, x, use_reentrant=False)
    else:
        x, query, key = run(x)
    return x, Attention(query, key)


def _attend(
    module: EfficientMultiheadAttention, x: Tensor, hw_shape: tuple[int, int], identity: Tensor
) -> tuple[Tensor, Attention]:
    """Run mmseg's attention module through PyTorch's fused kernel and keep its queries and keys."""
    context = x
    if module.sr_ratio > 1:
        context = module.norm(nchw_to_nlc(module.sr(nlc_to_nchw(x, hw_shape))))
    out, attention = attend(module.attn, x, context)
    return identity + module.dropout_layer(module.proj_drop(out)), attention


def attend(attn: nn.MultiheadAttention, x: Tensor, context: Tensor) -> tuple[Tensor, Attention]:
    """Run an attention layer of PyTorch through its fused kernel and keep queries and keys.

    Shape:
        x (B, N, C); context (B, M, C); output (B, N, C).
    """
    query, key, value = (
        t.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)  # (B, heads, N, d)
        for t in _project(attn.in_proj_weight, attn.in_proj_bias, x, context)
    )
    out = F.scaled_dot_product_attention(query, key, value, dropout_p=attn.dropout if attn.training else 0.0)
    return attn.out_proj(out.transpose(1, 2).flatten(2)), Attention(query, key)


def _project(weight: Tensor, bias: Optional[Tensor], x: Tensor, context: Tensor) -> tuple[Tensor, ...]:
    """Project `x` to queries, `context` to keys and values, by one packed weight; each (B, N, C)."""
    if context is x:
        return F.linear(x, weight, bias).chunk(3, dim=-1)
    width = x.shape[-1]
    biases = (None, None) if bias is None else (bias[:width], bias[width:])
    return F.linear(x, weight[:width], biases[0]), *F.linear(context, weight[width:], biases[1]).chunk(2, dim=-1)
