# AFA on your own images, from tags, as this command fills it in:
#   python tools/dataset_converters/check_dataset.py data/custom/images --labels data/custom/labels.csv --config my.py
# docs/custom_dataset.md goes through it step by step.
#
#   data/custom
#   ├── images               # images, in subfolders too: .jpg, .png, ...
#   ├── labels.csv           # IMG_0001,cat,dog; or a column for each class; or JSON
#   ├── train.txt, val.txt   # ids, one a line; written by check_dataset.py
#   └── masks                # optional: class indices as PNG, in the order of the classes, 255 = ignored
_base_ = './afa_mit-b1_voc.py'

data_root = 'data/custom'
img_dir = 'images'
label_file = 'labels.csv'  # classes are its columns, or else all names in it, sorted; the background comes first
num_classes = 4  # with the background; check_dataset.py prints it
train_list = 'train.txt'
val_list = 'val.txt'

# Optional.
mask_dir = ''  # 'masks': compare with masks in validation; without, it reports the classifier alone
max_iters = 20000  # the phases of training and the learning rate follow; published: 20 000 for 10 582 images
val_interval = max(max_iters // 10, 1)
long_side = 512  # to which images are scaled first, and side of the random crops; published: 512

# What follows is derived.
resize = dict(type='Resize', scale=(long_side, long_side), keep_ratio=True, backend='pillow')
train_pipeline = [_base_.train_pipeline[0], resize, *_base_.train_pipeline[1:]]
train_pipeline[-2].crop_size = (long_side, long_side)
test_pipeline = [
    dict(type='LoadImageFromFile'),  # turned by EXIF orientation, as in training
    resize,
    *([dict(type='LoadMask')] if mask_dir else []),  # masks keep their size, predictions get it back
    _base_.test_pipeline[-1],
]
tta_pipeline = test_pipeline
tta_model = dict(long_side=long_side)

dataset = dict(
    _delete_=True,
    type='ImageLevelDataset',
    data_root=data_root,
    label_file=label_file,
    data_prefix=dict(img_path=img_dir, seg_map_path=mask_dir),
    img_suffix=('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp'),
)
train_dataloader = dict(dataset=dict(dataset, ann_file=train_list, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(dataset, ann_file=val_list, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = _base_.val_evaluator if mask_dir else _base_.val_evaluator[-1:]
test_evaluator = dict(format_only=not mask_dir)  # tools/test.py --out DIR writes predictions in any case

model = dict(
    data_preprocessor=dict(size=(long_side, long_side)),
    decode_head=dict(num_classes=num_classes),
    train_cfg={
        phase: _base_.model.train_cfg[phase] * max_iters // _base_.train_cfg.max_iters
        for phase in ('cls_only_until', 'cam_label_until')
    },
)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(max_iters=max_iters, warmup_iters=max_iters * 3 // 40)
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(
    checkpoint=dict(interval=val_interval, save_best='mIoU' if mask_dir else 'cls/f1', rule='greater'),
)
