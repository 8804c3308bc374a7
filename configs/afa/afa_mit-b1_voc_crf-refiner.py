_base_ = './afa_mit-b1_voc.py'

# Ablation: dense CRF instead of PAR.
model = dict(refiner=dict(_delete_=True, type='DenseCRF'))
