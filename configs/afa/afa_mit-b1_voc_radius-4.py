_base_ = './afa_mit-b1_voc.py'

# Ablation: affinity within 4 cells instead of 8.
model = dict(pseudo_labeler=dict(radius=4))
