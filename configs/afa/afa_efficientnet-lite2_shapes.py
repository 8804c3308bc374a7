# AFA on ShapesVOC with ImageNet weights under Apache-2.0 (docs/weights.md).
_base_ = './afa_mit-tiny_shapes.py'

model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),  # as the weights were trained
    backbone=dict(
        _delete_=True,
        type='AttentionBackbone',
        backbone=dict(
            type='TIMMBackbone',
            model_name='tf_efficientnet_lite2',
            pretrained=False,
            output_stride=16,
            out_indices=(1, 2, 3, 4),
        ),
        in_channels=352,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/efficientnet_lite2.pth'),
    ),
    decode_head=dict(in_channels=[24, 48, 120, 352], loss_affinity=dict(loss_weight=0.1)),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0), 'backbone.attention_': dict(lr_mult=10.0)}),
)
