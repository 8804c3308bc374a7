# AFA with MiT-B0, which has no published figures.
_base_ = './afa_mit-b1_voc.py'

model = dict(
    backbone=dict(arch='b0', init_cfg=dict(checkpoint='pretrained/mit_b0.pth')),
    decode_head=dict(in_channels=[32, 64, 160, 256]),
)
