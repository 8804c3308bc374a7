# ToCo on DeiT-B, 21 classes (VOC): the published settings.
model = dict(
    type='ToCo',
    data_preprocessor=dict(
        type='NonBlockingSegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(448, 448),
    ),
    backbone=dict(
        type='AttnVisionTransformer',
        arch='deit-b',
        out_indices=(-3, -1),
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/deit_b.pth'),
    ),
    decode_head=dict(
        type='ToCoHead',
        in_channels=[768, 768],
        channels=512,
        num_classes=21,
        projector=dict(hidden=2048, bottleneck=256, out_channels=1024),
        momentum=0.9,
        loss_cls=dict(type='MultiLabelSoftMarginLoss', loss_weight=1.0),
        loss_aux=dict(type='MultiLabelSoftMarginLoss', loss_weight=1.0),
        # Groups of 2, as the published run has them on each GPU: docs/distributed.md.
        loss_ptc=dict(type='PatchTokenContrastLoss', loss_weight=0.2, group_size=2),
        loss_ctc=dict(type='ClassTokenContrastLoss', loss_weight=0.5, temperature=0.5),
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1, group_size=2),
        loss_energy=dict(type='DenseEnergyLoss', loss_weight=0.05),
    ),
    refiner=dict(type='PAR', num_iters=10),
    pseudo_labeler=dict(type='CamPseudoLabeler', cam_scales=(1.0, 0.5, 1.5), bkg_scores=(0.25, 0.7)),
    # The last iteration of each phase: no segmentation; no token contrast; labels from auxiliary CAMs.
    train_cfg=dict(no_seg_until=2000, no_contrast_until=-1, aux_label_until=-1),
    test_cfg=dict(mode='whole', bkg_score=0.5),
    # Predictions are made at this size, whatever the image's own, as in the published validation.
    test_size=(448, 448),
)
