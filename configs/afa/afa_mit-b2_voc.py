# AFA with MiT-B2, which has no published figures.
_base_ = './afa_mit-b1_voc.py'

model = dict(backbone=dict(arch='b2', init_cfg=dict(checkpoint='pretrained/mit_b2.pth')))
