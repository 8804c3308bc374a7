"""Backbones that expose their attention."""

from .attention import Attention
from .attention_backbone import AttentionBackbone
from .attn_mit import AttnMixVisionTransformer
from .attn_vit import AttnVisionTransformer, Tokens
from .hybrid_vit import HybridVisionTransformer

__all__ = [
    'Attention',
    'AttentionBackbone',
    'AttnMixVisionTransformer',
    'AttnVisionTransformer',
    'HybridVisionTransformer',
    'Tokens',
]
