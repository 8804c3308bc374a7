# ToCo on a small ViT for images of 128 pixels, trained from scratch.
_base_ = './toco_deit-b.py'

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=128, num_layers=6, num_heads=4),
        img_size=128,
        patch_size=8,  # a grid of 16 x 16
        freeze_pos_embed=False,
        init_cfg=None,
    ),
    decode_head=dict(
        in_channels=[128, 128],
        channels=128,
        num_classes=7,
        projector=dict(hidden=256, bottleneck=64, out_channels=256),
        loss_energy=None,
    ),
    test_size=None,
)
