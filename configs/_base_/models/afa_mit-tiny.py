# AFA on a shallow MiT-B0 for images of 128 pixels, trained from scratch.
_base_ = './afa_mit-b1.py'

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        # Fewer blocks than B0 has, for speed.
        arch='b0',
        num_layers=(1, 1, 2, 2),
        drop_path_rate=0.0,
        init_cfg=None,
    ),
    decode_head=dict(
        in_channels=[32, 64, 160, 256],
        channels=128,
        num_classes=7,
        loss_affinity=dict(loss_weight=0.5),  # few iterations to learn it in
    ),
    # Scale 2 gives small images a grid of 16 x 16 for CAM and affinity. CAMs of a network trained from scratch
    # reach beyond the objects: higher scores for the background than the published ones.
    pseudo_labeler=dict(cam_scales=(1.0, 0.5, 2.0), radius=8, bkg_scores=(0.55, 0.75)),
    test_cfg=dict(bkg_score=0.6, affinity_scale='largest'),
)
