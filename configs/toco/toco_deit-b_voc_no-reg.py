_base_ = './toco_deit-b_voc.py'

# Ablation: no regularised loss.
model = dict(decode_head=dict(loss_energy=None))
