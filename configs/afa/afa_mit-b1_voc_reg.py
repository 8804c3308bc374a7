_base_ = './afa_mit-b1_voc.py'

# With the regularised loss, as in the published run.
model = dict(decode_head=dict(loss_energy=dict(type='DenseEnergyLoss', loss_weight=0.01)))
