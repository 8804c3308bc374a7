_base_ = './afa_mit-b1_coco.py'

# With the regularised loss.
model = dict(decode_head=dict(loss_energy=dict(type='DenseEnergyLoss', loss_weight=0.01)))
