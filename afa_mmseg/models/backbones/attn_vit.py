"""Plain Vision Transformer whose patch tokens, class token and attention can be read."""

from typing import Any, NamedTuple, Union

import torch
from mmseg.models.backbones.vit import TransformerEncoderLayer, VisionTransformer
from mmseg.registry import MODELS
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..checkpoints.pretrained import load_all, pretrained_files
from .attention import Attention, check_size
from .attn_mit import attend

#: Brings weights of other projects to our names.
CONVERT = 'python tools/model_converters/convert_vit.py'
#: Sizes of DeiT (Touvron et al., ICML 2021) and ViT (Dosovitskiy et al., ICLR 2021), patches of 16 pixels.
VIT_ARCHITECTURES: dict[str, dict[str, Any]] = {
    'deit-s': dict(embed_dims=384, num_layers=12, num_heads=6),
    'deit-b': dict(embed_dims=768, num_layers=12, num_heads=12),
    'vit-b': dict(embed_dims=768, num_layers=12, num_heads=12),
}


class Tokens(NamedTuple):
    """What a Vision Transformer makes of a batch of images.

    Shape:
        maps a tuple of (B, C, h, w), patch tokens after the blocks of `out_indices`; class_token (B, C); attentions
        of the last blocks, between patch tokens.
    """

    maps: tuple[Tensor, ...]
    class_token: Tensor
    attentions: list[Attention]


@MODELS.register_module()
class AttnVisionTransformer(VisionTransformer):
    """mmseg's Vision Transformer as DeiT's and ViT's weights were trained, with readable tokens and attention.

    Patches at the right and lower border that are not whole are left out. The position embedding is resized to the
    grid of each image, bicubically. The last block's output is normed, those of earlier ones are not. Parameter names
    are mmseg's, so its converted ViT checkpoints load. Every block runs PyTorch's fused attention.

    Args:
        arch: A preset, 'deit-s', 'deit-b' or 'vit-b', or a dict with `embed_dims`, `num_layers` and `num_heads`.
        out_indices: Blocks whose patch tokens `forward` returns; negative ones count from the last.
        num_attentions: From how many of the last blocks `forward_with_attention` returns queries and keys.
        freeze_pos_embed: Leave the position embedding as it is in training.
        kwargs: Passed to mmseg's `VisionTransformer` (`img_size` of the position embedding, `with_cp`, `init_cfg`,
            `drop_path_rate`, ...).

    Shape:
        Input (B, 3, H, W); output a tuple of maps (B, C, h, w), sizes rounded down.

    Raises:
        ValueError: `arch` is unknown, `out_indices` or `num_attentions` do not fit the number of blocks, an image is
            smaller than a patch, or a pretrained file does not fit.
        FileNotFoundError: `init_cfg` names a pretrained file that is not there (on `init_weights`).
    """

    def __init__(
        self,
        arch: Union[str, dict] = 'deit-b',
        out_indices: tuple = (-3, -1),
        num_attentions: int = 2,
        freeze_pos_embed: bool = True,
        **kwargs: Any,
    ) -> None:
        if isinstance(arch, str) and arch not in VIT_ARCHITECTURES:
            raise ValueError(
                f"arch='{arch}' of AttnVisionTransformer is unknown: choose from {', '.join(VIT_ARCHITECTURES)} "
                'or pass a dict with embed_dims, num_layers and num_heads'
            )
        preset = VIT_ARCHITECTURES[arch] if isinstance(arch, str) else arch
        blocks = preset['num_layers']
        if not out_indices or not all(-blocks <= i < blocks for i in out_indices) or not 0 < num_attentions <= blocks:
            raise ValueError(
                f'out_indices={tuple(out_indices)} and num_attentions={num_attentions} must name some of the '
                f'{blocks} blocks'
            )
        settings = dict(patch_pad=0, patch_bias=True, final_norm=True, norm_cfg=dict(type='LN', eps=1e-6))
        super().__init__(**{**settings, **preset, **kwargs}, out_indices=[i % blocks for i in out_indices])
        self.num_attentions = num_attentions
        self.pos_embed.requires_grad_(not freeze_pos_embed)

    @property
    def min_size(self) -> int:
        """Smallest image side, in pixels: a patch."""
        return self.patch_size

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of whole patches of an image of this size in pixels."""
        return height // self.patch_size, width // self.patch_size

    def init_weights(self) -> None:
        """Initialise, or load all weights from the pretrained file of `init_cfg`."""
        try:
            loaded = load_all(self, self.init_cfg)
        except (FileNotFoundError, ValueError) as error:
            command = f'{CONVERT} FILE {pretrained_files(self.init_cfg)[-1][0]}'
            raise type(error)(f'{error}\n  Weights of timm, DeiT or Hugging Face: {command}') from error
        if not loaded:
            super().init_weights()

    def train(self, mode: bool = True) -> 'AttnVisionTransformer':
        """Set the mode as any module does; mmseg's returns None."""
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of patch tokens after the blocks in `out_indices`."""
        return self.forward_with_tokens(x).maps

    def forward_with_attention(self, x: Tensor) -> tuple[tuple[Tensor, ...], list[Attention]]:
        """Return the maps of patch tokens, and the attention of the last blocks between them."""
        tokens = self.forward_with_tokens(x)
        return tokens.maps, tokens.attentions

    def forward_with_tokens(self, x: Tensor) -> Tokens:
        """Return maps, class token and attention."""
        check_size(x, self.min_size)
        x, grid = self.embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + N, C)
        x = self.drop_after_pos(x + self._position_embedding(grid))
        maps, attentions = [], []
        for i, block in enumerate(self.layers):
            x, attention = _run_block(block, x)
            if i >= len(self.layers) - self.num_attentions:
                attentions.append(Attention(attention.query[:, :, 1:], attention.key[:, :, 1:]))
            if i == len(self.layers) - 1:
                x = self.norm1(x)
            if i in self.out_indices:
                maps.append(x[:, 1:].transpose(1, 2).unflatten(2, grid))  # (B, C, h, w)
        return Tokens(tuple(maps), x[:, 0], attentions)

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return patch tokens (B, N, C) before the first block, without position, and their grid."""
        return self.patch_embed(x)

    def _position_embedding(self, grid: tuple[int, int]) -> Tensor:
        own = self.img_size[0] // self.patch_size, self.img_size[1] // self.patch_size
        if tuple(grid) == own:  # mmseg compares the numbers of cells, not the sides
            return self.pos_embed
        return self.resize_pos_embed(self.pos_embed, grid, own, self.interpolate_mode)


def _run_block(block: TransformerEncoderLayer, x: Tensor) -> tuple[Tensor, Attention]:
    """Run one of mmseg's blocks and keep its queries and keys."""

    def run(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        module, normed = block.attn, block.norm1(x)
        out, attention = attend(module.attn, normed, normed)
        x = x + module.dropout_layer(module.proj_drop(out))
        return block.ffn(block.norm2(x), identity=x), *attention

    if block.with_cp and x.requires_grad:
        x, query, key = checkpoint(run, x, use_reentrant=False)
    else:
        x, query, key = run(x)
    return x, Attention(query, key)
