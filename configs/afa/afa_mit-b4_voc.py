# AFA with MiT-B4, which has no published figures.
_base_ = './afa_mit-b1_voc.py'

model = dict(backbone=dict(arch='b4', init_cfg=dict(checkpoint='pretrained/mit_b4.pth')))
