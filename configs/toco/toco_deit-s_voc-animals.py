# ToCo on VOC-Animals, DeiT-S; weights: docs/weights.md.
_base_ = [
    '../_base_/models/toco_deit-b.py',
    '../_base_/datasets/voc_animals.py',
    '../_base_/datasets/three_views.py',
    '../_base_/schedules/schedule_1k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(arch='deit-s', init_cfg=dict(checkpoint='pretrained/deit_s.pth')),
    decode_head=dict(in_channels=[384, 384], num_classes=7),
    # The published phases in proportion to 1 000 iterations; local crops in proportion to the crop.
    train_cfg=dict(no_seg_until=100, local_size=56),
    test_size=None,
)
train_pipeline = _base_.three_view_pipeline
train_pipeline[1].transforms[0].scale = 256
train_pipeline[2].ratio_range = (0.5, 1.5)
train_pipeline[4].crop_size = 256
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# All norms learn, as in ToCo's schedule.
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, custom_keys={'decode_head': dict(lr_mult=10.0)}))
param_scheduler = _base_.param_scheduler
param_scheduler[0].power = 0.9
val_evaluator = [
    dict(type='PaletteIoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='pred_cam', bkg_score=0.5, prefix='cam'),
    dict(type='CAMIoUMetric', field='pred_aux_cam', bkg_score=0.5, prefix='aux_cam'),
    dict(type='CAMIoUMetric', field='pred_refined_cam', prefix='refined_cam'),
    dict(type='ImageF1Metric', thr=0.5, prefix='cls'),
]
tta_model = dict(_delete_=True, type='ToCoTTAModel', scales=[1.0, 1.5, 1.25], mirror='sum', over_scales='max')
