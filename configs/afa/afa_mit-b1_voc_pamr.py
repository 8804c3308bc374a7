_base_ = './afa_mit-b1_voc.py'

# Ablation: PAMR instead of PAR.
model = dict(refiner=dict(type='PAMR'))
