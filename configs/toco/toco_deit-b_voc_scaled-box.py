_base_ = './toco_deit-b_voc.py'

# Ablation: patch tokens are ignored where no image is, not where the box in pixels is mistaken for cells.
model = dict(train_cfg=dict(scale_boxes=True))
