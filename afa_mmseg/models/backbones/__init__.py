"""Backbones that expose their attention."""

from .attn_mit import Attention, AttnMixVisionTransformer

__all__ = ['Attention', 'AttnMixVisionTransformer']
