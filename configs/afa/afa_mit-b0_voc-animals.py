# AFA on VOC-Animals with the MiT-B0 of the package (Apache-2.0, docs/weights.md): afa weights mit-b0-distilled
_base_ = [
    '../_base_/models/afa_mit-b1.py',
    '../_base_/datasets/voc_animals.py',
    '../_base_/schedules/schedule_1k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(arch='b0', init_cfg=dict(checkpoint='pretrained/mit_b0_distilled.pth')),
    decode_head=dict(in_channels=[32, 64, 160, 256], channels=128, num_classes=7),
    pseudo_labeler=dict(bkg_scores=(0.45, 0.65)),  # chosen on tune.txt: docs/results/settings.md
    train_cfg=dict(cls_only_until=150, cam_label_until=350),
    test_cfg=dict(affinity_scale='largest'),
)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
