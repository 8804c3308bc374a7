# AFA with MiT-B3, which has no published figures.
_base_ = './afa_mit-b1_voc.py'

model = dict(backbone=dict(arch='b3', init_cfg=dict(checkpoint='pretrained/mit_b3.pth')))
