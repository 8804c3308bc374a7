"""Backbones that expose their attention."""

from .attention import Attention
from .attn_mit import AttnMixVisionTransformer

__all__ = ['Attention', 'AttnMixVisionTransformer']
