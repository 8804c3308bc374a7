"""Sizes of Mix Transformers."""

from typing import Any

#: Embedding width per head and blocks per stage of SegFormer's presets (Xie et al., NeurIPS 2021).
ARCHITECTURES: dict[str, dict[str, Any]] = {
    'b0': dict(embed_dims=32, num_layers=(2, 2, 2, 2)),
    'b1': dict(embed_dims=64, num_layers=(2, 2, 2, 2)),
    'b2': dict(embed_dims=64, num_layers=(3, 4, 6, 3)),
    'b3': dict(embed_dims=64, num_layers=(3, 4, 18, 3)),
    'b4': dict(embed_dims=64, num_layers=(3, 8, 27, 3)),
    'b5': dict(embed_dims=64, num_layers=(3, 6, 40, 3)),
}
