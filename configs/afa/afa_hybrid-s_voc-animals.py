# AFA on VOC-Animals with the network of toco_hybrid-s_voc-animals.py, to compare the two (docs/methods.md).
_base_ = ['./afa_deit-s_voc-animals.py', '../_base_/models/hybrid-s_efficientnet-lite2.py']

model = dict(
    data_preprocessor=_base_.hybrid_preprocessor,
    backbone=dict(_delete_=True, **_base_.hybrid_backbone, out_indices=(2, 5, 8, 11), drop_path_rate=0.1),
)
optim_wrapper = _base_.hybrid_optimizer
