# AFA on VOC-Animals with the weights of toco_deit-s_voc-animals.py, to compare the two (docs/weights.md).
_base_ = './afa_mit-b0_voc-animals.py'

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
# All norms learn, as in ToCo's run.
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, custom_keys={'decode_head': dict(lr_mult=10.0)}))
