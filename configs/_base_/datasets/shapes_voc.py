# ShapesVOC; make it with: python tools/dataset_converters/make_shapes_voc.py data/ShapesVOC
_base_ = './voc_image_level.py'

dataset_type = 'ShapesVOCDataset'
data_root = 'data/ShapesVOC'
crop_size = (128, 128)

train_pipeline = _base_.train_pipeline
train_pipeline[1].ratio_range = (0.75, 1.5)
train_pipeline[-2].crop_size = crop_size
tta_model = dict(long_side=128)

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    pin_memory=False,  # for CPUs, where torch would warn that there is no GPU to copy to
    dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=1, pin_memory=False, dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
