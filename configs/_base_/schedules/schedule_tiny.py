# From scratch in a few minutes on a CPU: one learning rate for all, norms learn too.
_base_ = './schedule_20k.py'

max_iters = 900

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
)
param_scheduler = [dict(type='WarmupPolyLR', max_iters=max_iters, warmup_iters=50)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=450))
auto_scale_lr = dict(base_batch_size=8)
