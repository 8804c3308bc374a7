# AFA on DeiT-S instead of a Mix Transformer: four layers of one size, affinity from the last two blocks.
_base_ = './afa_mit-b1_voc.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='AttnVisionTransformer',
        arch='deit-s',
        out_indices=(2, 5, 8, 11),
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/deit_s.pth'),
    ),
    decode_head=dict(in_channels=[384, 384, 384, 384], num_attention_heads=12),
)
frozen = dict(lr_mult=0.0, decay_mult=0.0)
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, custom_keys=dict(decode_head=dict(lr_mult=10.0), ln1=frozen, ln2=frozen))
)
