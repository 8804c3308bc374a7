# AdamW for 20 000 iterations, as published: heads ten times the rate, backbone norms frozen.
max_iters = 20000

frozen = dict(lr_mult=0.0, decay_mult=0.0)
optim_wrapper = dict(
    type='OptimWrapper',
    # `fused`: one pass over each tensor; on a CPU it needs torch 2.4.
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=10.0),
            'norm': frozen,
            # mmseg's MiT calls the norm after a stage `layers.{stage}.2`.
            'backbone.layers.0.2': frozen,
            'backbone.layers.1.2': frozen,
            'backbone.layers.2.2': frozen,
            'backbone.layers.3.2': frozen,
        }
    ),
)
param_scheduler = [dict(type='WarmupPolyLR', max_iters=max_iters, warmup_iters=1500, warmup_ratio=1e-6, power=1.0)]

train_cfg = dict(type='UpdateTrainLoop', max_iters=max_iters, val_interval=2000)
val_cfg = dict(type='CAMValLoop')
test_cfg = dict(type='TestLoop')

# All hooks of a run, but those that mmengine adds itself. In this order where priorities are equal.
default_hooks = dict(
    # Stops at a loss, gradient or weight that is not finite, before it is saved.
    finite=dict(type='FiniteLossHook'),
    # Ctrl-C or SIGTERM: a checkpoint after the iteration, then the end.
    shutdown=dict(type='ShutdownHook'),
    resume=dict(type='ResumeHook'),
    class_count=dict(type='ClassCountHook'),
    skipped_images=dict(type='SkippedImageHook'),
    norm_stats=dict(type='AverageNormStatsHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='RunLengthLoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2000, max_keep_ckpts=3, save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
# Panels of two images each in `vis_data/vis_image` of the work directory: docs/visualization.md.
custom_hooks = [dict(type='WeakSegVisualizationHook', interval=2000, num_samples=2)]
# The published run on VOC had 2 images on each of 2 GPUs; `tools/train.py` does not scale the rate by itself.
auto_scale_lr = dict(enable=False, base_batch_size=4)
