# ToCo's schedule over 80 000 iterations.
_base_ = './toco_20k.py'

max_iters = 80000

param_scheduler = _base_.param_scheduler
param_scheduler[0].max_iters = max_iters
train_cfg = dict(max_iters=max_iters, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
