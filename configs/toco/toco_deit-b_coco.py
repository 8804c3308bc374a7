# ToCo on COCO 2014 from image-level labels (Ru et al., CVPR 2023).
_base_ = [
    '../_base_/models/toco_deit-b.py',
    '../_base_/datasets/coco_image_level.py',
    '../_base_/datasets/three_views.py',
    '../_base_/schedules/toco_80k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    decode_head=dict(num_classes=81, loss_ctc=dict(temperature=1.0)),
    pseudo_labeler=dict(bkg_scores=(0.25, 0.65)),
    # Classification only, then segmentation from auxiliary CAMs, then everything.
    train_cfg=dict(no_seg_until=8000, no_contrast_until=12000, aux_label_until=12000),
    test_cfg=dict(bkg_score=0.45),
)
train_dataloader = dict(dataset=dict(pipeline=_base_.three_view_pipeline))
val_evaluator = [
    dict(type='PaletteIoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='pred_cam', bkg_score=0.45, prefix='cam'),
    dict(type='CAMIoUMetric', field='pred_aux_cam', bkg_score=0.45, prefix='aux_cam'),
    dict(type='ImageF1Metric', thr=0.5, prefix='cls'),
]
# tools/test.py --tta: a square of 448 pixels, the maximum of mirror images, the sum over scales at the image's size.
tta_model = dict(
    _delete_=True, type='ToCoTTAModel', scales=[1.0, 1.25, 1.5], size=(448, 448), mirror='max', over_scales='sum'
)
