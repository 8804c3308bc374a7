"""Backbones that expose their attention."""

from .attention import Attention
from .attn_mit import AttnMixVisionTransformer
from .attn_vit import AttnVisionTransformer, Tokens

__all__ = ['Attention', 'AttnMixVisionTransformer', 'AttnVisionTransformer', 'Tokens']
