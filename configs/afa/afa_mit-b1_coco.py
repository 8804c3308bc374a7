# AFA on COCO 2014 from image-level labels (Ru et al., CVPR 2022), without the regularised loss.
_base_ = [
    '../_base_/models/afa_mit-b1.py',
    '../_base_/datasets/coco_image_level.py',
    '../_base_/schedules/schedule_80k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    decode_head=dict(num_classes=81),
    refiner=dict(num_iters=15),
    # In the last phase affinity, too, learns from propagated CAMs.
    train_cfg=dict(cls_only_until=5000, cam_label_until=15000, affinity_from_propagated=True),
)
# The published run had 2 images on each of 4 GPUs.
auto_scale_lr = dict(base_batch_size=8)
