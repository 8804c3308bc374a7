# AFA on ShapesVOC from image-level labels alone: the quickstart. Learns from scratch on two CPU cores.
_base_ = [
    '../_base_/models/afa_mit-tiny.py',
    '../_base_/datasets/shapes_voc.py',
    '../_base_/schedules/schedule_tiny.py',
    '../_base_/default_runtime.py',
]

randomness = dict(seed=2)
# Propagated CAMs become labels late: affinity has few iterations to learn in.
model = dict(train_cfg=dict(cls_only_until=400, cam_label_until=750))
val_cfg = dict(pseudo_label=True)
val_evaluator = [
    dict(type='PaletteIoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='pred_cam', bkg_score=0.6, prefix='cam'),
    dict(type='CAMIoUMetric', field='pred_propagated_cam', prefix='propagated_cam'),
    dict(type='CAMIoUMetric', field='pred_refined_cam', prefix='refined_cam'),
    dict(type='ImageF1Metric', thr=0.5, prefix='cls'),
]
# Images and curves as files and in TensorBoard: tensorboard --logdir work_dirs
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(vis_backends=vis_backends)
custom_hooks = [dict(type='WeakSegVisualizationHook', interval=300)]
