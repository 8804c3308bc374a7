_base_ = './afa_efficientnet-lite2_voc-animals.py'

# Ablation: affinity within 4 cells instead of 8.
model = dict(pseudo_labeler=dict(radius=4))
