_base_ = './afa_mit-b1_voc.py'

# Ablation: no refinement.
model = dict(refiner=None)
