# AFA with MiT-B5, which has no published figures.
_base_ = './afa_mit-b1_voc.py'

model = dict(backbone=dict(arch='b5', init_cfg=dict(checkpoint='pretrained/mit_b5.pth')))
