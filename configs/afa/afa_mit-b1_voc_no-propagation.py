_base_ = './afa_mit-b1_voc.py'

# Ablation: segmentation learns from plain CAMs to the end.
model = dict(train_cfg=dict(cam_label_until=20000))
