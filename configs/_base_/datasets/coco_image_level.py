# COCO 2014 with image-level labels; pipelines and evaluation are those of VOC. The lists hold the images with at least
# one annotation, as published.
_base_ = './voc_image_level.py'

dataset_type = 'COCOImageLevelDataset'
data_root = 'data/coco2014'

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/train2014.txt',
        label_file='labels_train2014.json',
        data_prefix=dict(img_path='train2014'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/val2014.txt',
        label_file='labels_val2014.json',
        data_prefix=dict(img_path='val2014', seg_map_path='SegmentationClass/val2014'),
    ),
)
test_dataloader = val_dataloader
