# The network of afa_efficientnet-lite2_voc-animals.py trained on full masks, for as long.
_base_ = './afa_efficientnet-lite2_voc-animals.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    *_base_.train_pipeline[1:],
]
model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    decode_head={**_base_.model.decode_head, 'loss_decode': dict(type='CrossEntropyLoss')},
    test_cfg=dict(mode='whole'),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-4))  # at AFA's 2e-4 it ends lower: docs/results/settings.md
val_cfg = dict(_delete_=True, type='ValLoop')
val_evaluator = [_base_.test_evaluator]
custom_hooks = []  # no pseudo-labels to draw
# Classifier and affinity projection stay unused here.
find_unused_parameters = True
