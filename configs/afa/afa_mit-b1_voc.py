# AFA on PASCAL VOC 2012 from image-level labels (Ru et al., CVPR 2022), without the regularised loss.
_base_ = [
    '../_base_/models/afa_mit-b1.py',
    '../_base_/datasets/voc_image_level.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
