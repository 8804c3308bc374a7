# ToCo on VOC-Animals, the blocks of a ViT-S on EfficientNet-Lite2 (Apache-2.0, docs/weights.md).
_base_ = ['./toco_deit-s_voc-animals.py', '../_base_/models/hybrid-s_efficientnet-lite2.py']

model = dict(
    data_preprocessor=_base_.hybrid_preprocessor,
    backbone=dict(_delete_=True, **_base_.hybrid_backbone, out_indices=(-3, -1)),
)
optim_wrapper = _base_.hybrid_optimizer
