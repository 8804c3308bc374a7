_base_ = './afa_mit-b1_voc.py'

# Ablation: no affinity loss; propagation then relies on what attention happens to show.
model = dict(decode_head=dict(loss_affinity=dict(loss_weight=0.0)))
