"""Vision Transformer on the map of a pretrained backbone."""

from typing import Any, Union

from mmseg.models.utils import nchw_to_nlc
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.checks import check_keys
from .attention_backbone import AttentionBackbone
from .attn_vit import AttnVisionTransformer

#: Settings of `AttentionBackbone` that a stem may have.
STEM_KEYS = ('backbone', 'in_channels', 'stride', 'round_up', 'norm_eval', 'freeze_norm', 'init_cfg')


@MODELS.register_module()
class HybridVisionTransformer(AttnVisionTransformer):
    """Vision Transformer whose patches are the cells of another backbone's last map (Dosovitskiy et al., ICLR 2021).

    Methods that need a class token and patch tokens, such as ToCo, thereby run on any pretrained backbone of mmseg,
    mmpretrain or timm. Parameters of the backbone below start with `patch_embed.backbone.`, for `paramwise_cfg`; all
    others are new.

    Args:
        stem: Settings of `AttentionBackbone` but for its blocks: `backbone`, `in_channels`, `stride`, `init_cfg` of
            its pretrained file, and others of `STEM_KEYS`.
        arch: See `AttnVisionTransformer`.
        freeze_pos_embed: Leave the position embedding, which starts at random, as it is in training.
        kwargs: See `AttnVisionTransformer`; the position embedding belongs to an `img_size` in pixels.

    Shape:
        Input (B, 3, H, W); output a tuple of maps (B, C, h, w) of the size of the last map below.

    Raises:
        ValueError, FileNotFoundError, ModuleNotFoundError: See `AttentionBackbone` and `AttnVisionTransformer`.
    """

    def __init__(
        self, stem: dict, arch: Union[str, dict] = 'deit-s', freeze_pos_embed: bool = False, **kwargs: Any
    ) -> None:
        check_keys(stem, STEM_KEYS, 'model.backbone.stem')
        missing = [key for key in ('backbone', 'in_channels') if key not in stem]
        if missing:
            raise ValueError(f'model.backbone.stem.{missing[0]} is missing: see HybridVisionTransformer')
        super().__init__(arch, freeze_pos_embed=freeze_pos_embed, patch_size=stem.get('stride', 16), **kwargs)
        self.patch_embed: Any = AttentionBackbone(
            **stem, embed_dims=self.pos_embed.shape[-1], num_blocks=0, num_heads=1
        )

    @property
    def min_size(self) -> int:
        """Smallest image side, in pixels: a cell."""
        return self.patch_embed.min_size

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the map for an image of this size in pixels."""
        return self.patch_embed.grid_size(height, width)

    def init_weights(self) -> None:
        """Load `init_cfg`'s file of the whole; without one, initialise the blocks, and the stem from its own file."""
        if self.init_cfg is not None:
            super().init_weights()
            return
        stem, self.patch_embed = self.patch_embed, nn.Identity()  # mmseg's ViT would draw its weights anew
        super().init_weights()
        self.patch_embed = stem
        stem.init_weights()

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the cells of the map (B, N, C) before the first block, without position, and their grid."""
        last = self.patch_embed(x)[-1]
        return nchw_to_nlc(last), (last.shape[-2], last.shape[-1])
