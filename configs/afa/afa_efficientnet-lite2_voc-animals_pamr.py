_base_ = './afa_efficientnet-lite2_voc-animals.py'

# Ablation: PAMR instead of PAR.
model = dict(refiner=dict(type='PAMR'))
