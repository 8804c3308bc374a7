# ToCo's schedule over 80 000 iterations.
_base_ = './toco_20k.py'

max_iters = 80000

param_scheduler = _base_.param_scheduler
param_scheduler[0].max_iters = max_iters
train_cfg = dict(max_iters=max_iters, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
# The published run had 2 images on each of 4 GPUs.
auto_scale_lr = dict(base_batch_size=8)
