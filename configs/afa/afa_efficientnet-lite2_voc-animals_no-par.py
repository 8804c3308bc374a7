_base_ = './afa_efficientnet-lite2_voc-animals.py'

# Ablation: no refinement.
model = dict(refiner=None)
