# AFA on MiT-B1, 21 classes (VOC): the published settings.
model = dict(
    type='AFA',
    data_preprocessor=dict(
        type='NonBlockingSegDataPreProcessor',  # the host prepares the next step while a GPU receives the batch
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(
        type='AttnMixVisionTransformer',
        arch='b1',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/mit_b1.pth'),
    ),
    decode_head=dict(
        type='AFAHead',
        in_channels=[64, 128, 320, 512],
        channels=256,
        num_classes=21,
        dropout_ratio=0.1,
        pool='max',
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        loss_cls=dict(type='MultiLabelSoftMarginLoss', loss_weight=1.0),
        # Groups of 2, as the published run has them on each GPU: docs/distributed.md.
        loss_affinity=dict(type='AffinityLoss', loss_weight=0.1, group_size=2),
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1, group_size=2),
    ),
    refiner=dict(type='PAR', num_iters=10),
    pseudo_labeler=dict(type='AffinityPseudoLabeler', cam_scales=(1.0, 0.5, 1.5), radius=8, bkg_scores=(0.35, 0.55)),
    # The last iteration of each phase: classification only, then labels from plain CAMs, then propagated ones.
    train_cfg=dict(cls_only_until=2000, cam_label_until=6000),
    test_cfg=dict(mode='whole'),
)
