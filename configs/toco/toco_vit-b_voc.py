# ToCo on PASCAL VOC 2012, from ViT-B's weights of ImageNet-21k.
_base_ = './toco_deit-b_voc.py'

model = dict(backbone=dict(arch='vit-b', init_cfg=dict(checkpoint='pretrained/vit_b.pth')))
