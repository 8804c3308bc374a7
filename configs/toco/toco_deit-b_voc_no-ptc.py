_base_ = './toco_deit-b_voc.py'

# Ablation: no contrast between patch tokens.
model = dict(decode_head=dict(loss_ptc=None))
