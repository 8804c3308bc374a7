_base_ = './afa_efficientnet-lite2_voc-animals.py'

# Ablation: dense CRF instead of PAR.
model = dict(refiner=dict(_delete_=True, type='DenseCRF'))
