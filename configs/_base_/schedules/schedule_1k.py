# 1 000 iterations of 8 images, for a small data set: one to two hours on one CPU core, minutes on a GPU.
_base_ = './schedule_20k.py'

max_iters = 1000

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    # Blocks that AttentionBackbone appends are new: the rate of the heads, norms learn.
    paramwise_cfg=dict(custom_keys={'backbone.attention_': dict(lr_mult=10.0)}),
)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(max_iters=max_iters, warmup_iters=75)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(pseudo_label=True)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=8)
