# Second stage: mmseg's own SegFormer-B1, trained as on full masks, on pseudo-labels in their place: write these with
# tools/export_pseudo_labels.py CONFIG CHECKPOINT --out data/VOCdevkit/VOC2012/PseudoLabels (docs/second_stage.md).
_base_ = './afa_mit-b1_voc.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(data_prefix=dict(seg_map_path='PseudoLabels'), pipeline=train_pipeline),
)
auto_scale_lr = dict(base_batch_size=16)

model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=dict(
        type='MixVisionTransformer',
        embed_dims=64,
        num_layers=[2, 2, 2, 2],
        num_heads=[1, 2, 5, 8],
        drop_path_rate=0.1,
        init_cfg=_base_.model.backbone.init_cfg,
    ),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=256,
        num_classes=21,
        dropout_ratio=0.1,
        norm_cfg=_base_.model.decode_head.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='whole'),
)
# Norms learn too, as in SegFormer's own schedule.
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={'decode_head': dict(lr_mult=10.0), 'norm': dict(decay_mult=0.0)},
    ),
)
val_cfg = dict(_delete_=True, type='ValLoop')
val_evaluator = [_base_.test_evaluator]
custom_hooks = []  # nothing to explain
