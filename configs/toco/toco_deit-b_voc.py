# ToCo on PASCAL VOC 2012 from image-level labels (Ru et al., CVPR 2023).
_base_ = [
    '../_base_/models/toco_deit-b.py',
    '../_base_/datasets/voc_image_level.py',
    '../_base_/datasets/three_views.py',
    '../_base_/schedules/toco_20k.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(pipeline=_base_.three_view_pipeline))
val_evaluator = [
    dict(type='PaletteIoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='pred_cam', bkg_score=0.5, prefix='cam'),
    dict(type='CAMIoUMetric', field='pred_aux_cam', bkg_score=0.5, prefix='aux_cam'),
    dict(type='ImageF1Metric', thr=0.5, prefix='cls'),
]
# tools/test.py --tta: original size, mirror images summed, the maximum over scales at the image's size.
tta_model = dict(_delete_=True, type='ToCoTTAModel', scales=[1.0, 1.5, 1.25], mirror='sum', over_scales='max')
