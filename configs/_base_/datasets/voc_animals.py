# VOC-Animals: the images of PASCAL VOC 2012 whose labels hold six classes only, long side 352; make it with
#   python tools/dataset_converters/make_voc_animals.py data/VOCdevkit/VOC2012 data/voc_animals
# To look at settings, train on fit.txt and validate on tune.txt (a part of train.txt), never on val.txt:
#   --cfg-options train_dataloader.dataset.ann_file=fit.txt val_dataloader.dataset.ann_file=tune.txt
_base_ = './voc_image_level.py'

data_root = 'data/voc_animals'
crop_size = (256, 256)
dataset = dict(
    _delete_=True,
    type='ImageLevelDataset',
    data_root=data_root,
    label_file='labels.csv',  # its columns are the classes: cat, cow, dog, horse, person, sheep
    data_prefix=dict(img_path='images', seg_map_path='masks'),
)

train_pipeline = _base_.train_pipeline
train_pipeline[1].ratio_range = (0.5, 1.5)
train_pipeline[-2].crop_size = crop_size
# As for one's own images, pixels are turned by EXIF, where a file has such a tag.
test_pipeline = [dict(type='LoadImageFromFile'), *_base_.test_pipeline[1:]]
tta_pipeline = test_pipeline
tta_model = dict(long_side=352)

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(dataset, ann_file='train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=1, dataset=dict(dataset, ann_file='val.txt', pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='PaletteIoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='pred_cam', bkg_score=0.45, prefix='cam'),
    dict(type='CAMIoUMetric', field='pred_propagated_cam', prefix='propagated_cam'),
    dict(type='CAMIoUMetric', field='pred_refined_cam', prefix='refined_cam'),
    dict(type='ImageF1Metric', thr=0.5, prefix='cls'),
]
