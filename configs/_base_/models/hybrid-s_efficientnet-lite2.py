# The blocks of a ViT-S, new, on the last map of EfficientNet-Lite2, pretrained (docs/weights.md): for methods that need
# a class token, on a convolutional backbone.
hybrid_preprocessor = dict(mean=[127.0] * 3, std=[128.0] * 3)  # as the weights were trained
hybrid_backbone = dict(
    type='HybridVisionTransformer',
    arch='deit-s',
    img_size=256,
    stem=dict(
        backbone=dict(
            type='TIMMBackbone',
            model_name='tf_efficientnet_lite2',
            pretrained=False,
            output_stride=16,
            out_indices=(4,),
        ),
        in_channels=352,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/efficientnet_lite2.pth'),
    ),
)
# New parts learn faster than the pretrained ones. At 1e-4, and 5e-4 for the blocks, nothing was learnt (docs/results).
hybrid_optimizer = dict(
    optimizer=dict(lr=5e-5),
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={
            'decode_head': dict(lr_mult=10.0),
            'backbone': dict(lr_mult=2.0),
            'backbone.patch_embed.backbone': dict(lr_mult=1.0),
        },
    ),
)
