_base_ = './afa_mit-b1_voc.py'

# Predictions of the VOC 2012 test images, which have no public masks, for the evaluation server:
# tools/test.py with --tta; then pack work_dirs/voc_submission/results.
test_pipeline = [_base_.test_pipeline[0], dict(type='PackSegInputs')]
tta_pipeline = test_pipeline
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PascalVOCDataset',
        data_root=_base_.data_root,
        data_prefix=dict(img_path='JPEGImages'),
        ann_file='ImageSets/Segmentation/test.txt',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_evaluator = dict(
    _delete_=True,
    type='PaletteIoUMetric',
    format_only=True,
    output_dir='work_dirs/voc_submission/results/VOC2012/Segmentation/comp6_test_cls',
)
