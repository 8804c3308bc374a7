import json

import numpy as np
from PIL import Image

from afa_mmseg.datasets import COCOImageLevelDataset


def test_classes_are_background_and_the_80_objects_in_order():
    classes = COCOImageLevelDataset.METAINFO['classes']
    assert len(classes) == len(COCOImageLevelDataset.METAINFO['palette']) == len(set(classes)) == 81
    named = {0: 'background', 1: 'person', 10: 'traffic light', 16: 'cat', 17: 'dog', 63: 'tv', 80: 'toothbrush'}
    assert {i: classes[i] for i in named} == named


def test_images_labels_and_masks_are_joined_by_name(tmp_path):
    name = 'COCO_val2014_000000000042'
    for folder in ('val2014', 'SegmentationClass/val2014'):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / f'val2014/{name}.jpg')
    Image.fromarray(np.full((6, 8), 17, np.uint8)).save(tmp_path / f'SegmentationClass/val2014/{name}.png')
    (tmp_path / 'labels_val2014.json').write_text(json.dumps({name: ['dog', 'person']}))
    dataset = COCOImageLevelDataset(
        data_root=str(tmp_path),
        label_file='labels_val2014.json',
        data_prefix=dict(img_path='val2014', seg_map_path='SegmentationClass/val2014'),
        pipeline=[dict(type='LoadMask')],
    )
    (sample,) = [dataset[i] for i in range(len(dataset))]
    assert np.flatnonzero(sample['gt_label']).tolist() == [0, 16]
    assert (sample['gt_seg_map'] == 17).all()
