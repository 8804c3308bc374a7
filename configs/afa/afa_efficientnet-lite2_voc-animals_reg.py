_base_ = './afa_efficientnet-lite2_voc-animals.py'

# With the regularised loss.
model = dict(decode_head=dict(loss_energy=dict(type='DenseEnergyLoss', loss_weight=0.01)))
