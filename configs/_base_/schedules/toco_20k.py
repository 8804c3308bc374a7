# AdamW for 20 000 iterations as ToCo was published: heads ten times the rate, all norms learn, power 0.9.
_base_ = './schedule_20k.py'

optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, custom_keys={'decode_head': dict(lr_mult=10.0)}))
param_scheduler = _base_.param_scheduler
param_scheduler[0].power = 0.9
