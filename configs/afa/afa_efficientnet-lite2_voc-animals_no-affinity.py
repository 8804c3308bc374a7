_base_ = './afa_efficientnet-lite2_voc-animals.py'

# Ablation: no affinity loss, and no propagation: segmentation learns from plain CAMs to the end.
model = dict(
    decode_head=dict(loss_affinity=dict(loss_weight=0.0)),
    train_cfg=dict(cam_label_until=_base_.max_iters),
)
