# ToCo on COCO 2014, from ViT-B's weights of ImageNet-21k.
_base_ = './toco_deit-b_coco.py'

model = dict(backbone=dict(arch='vit-b', init_cfg=dict(checkpoint='pretrained/vit_b.pth')))
