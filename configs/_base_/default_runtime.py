custom_imports = dict(imports=['afa_mmseg'])
default_scope = 'mmseg'
env_cfg = dict(
    # cuDNN times its algorithms once for each size: pays where crops have one size, and CAM scales a few. Validation
    # images come in hundreds of sizes, which would each be timed: set False where validation takes most of a run.
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=1800),  # seconds that a rank waits for another
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
