# PASCAL VOC 2012 with image-level labels. Training opens no mask; validation compares with SegmentationClassAug.
# Mean and standard deviation are the model's (`data_preprocessor`), which also converts BGR to RGB.
dataset_type = 'VOCImageLevelDataset'
data_root = 'data/VOCdevkit/VOC2012'
crop_size = (512, 512)

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomScale', ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropWithBox', crop_size=crop_size),
    dict(type='PackImageLevelInputs'),
]
# Original size, pixels as stored, as the masks are. mmseg's own `MMSegInferencer` requires `LoadImageFromFile`.
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='LoadMask'),
    dict(type='PackImageLevelInputs'),
]
# tools/test.py --tta: scales of the published script, relative to the image with its longer side at `long_side`,
# each with its mirror image. The paper's figures: tta_model.scales=[0.5,0.75,1.0,1.25,1.5].
tta_model = dict(type='MaxScaleTTAModel', scales=[1.0, 0.5, 0.75], long_side=512)
tta_pipeline = test_pipeline

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,  # processes start once, not after every pass over the images
    pin_memory=True,  # page-locked batches are copied to a GPU while it computes
    sampler=dict(type='SequenceSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# Four figures: segmentation, CAM, propagated CAM, classifier.
val_evaluator = [
    dict(type='PaletteIoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='pred_cam', bkg_score=0.45, prefix='cam'),
    dict(type='CAMIoUMetric', field='pred_propagated_cam', prefix='propagated_cam'),
    dict(type='ImageF1Metric', thr=0.5, prefix='cls'),
]
test_evaluator = dict(type='PaletteIoUMetric', iou_metrics=['mIoU'])
