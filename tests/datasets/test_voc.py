"""PASCAL VOC with image-level labels."""

import shutil

import numpy as np
import pytest
import torch
from mmengine import Config
from mmseg.registry import DATASETS

from tests.datasets.files import write_xml

CONFIG = 'configs/_base_/datasets/voc_image_level.py'
SPLIT = 'ImageSets/Segmentation/train_aug.txt'


def build(root, **kwargs):
    return DATASETS.build({**dict(type='VOCImageLevelDataset', data_root=str(root), ann_file=SPLIT), **kwargs})


def train_dataset(root, request):
    config = Config.fromfile(request.config.rootpath / CONFIG)
    return DATASETS.build({**config.train_dataloader.dataset, 'data_root': str(root)})


def test_labels_come_from_xml_difficult_objects_included(voc_root):
    dataset = build(voc_root)
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(3)]
    # Positions among VOC's 20 foreground classes in alphabetical order.
    assert [np.flatnonzero(label).tolist() for label in labels] == [[7, 11], [14], []]
    assert {label.shape for label in labels} == {(20,)}


def test_a_label_file_replaces_the_xml(voc_root):
    shutil.rmtree(voc_root / 'Annotations')
    (voc_root / 'labels.csv').write_text('2007_000001,bus\n2007_000002,car\n2007_000003\n')
    dataset = build(voc_root, label_file='labels.csv')
    assert [dataset.get_data_info(i)['gt_label'].nonzero()[0].tolist() for i in range(3)] == [[5], [6], []]


def test_training_samples_do_not_change_without_masks(voc_root, request):
    def samples():
        np.random.seed(3)  # noqa: NPY002
        dataset = train_dataset(voc_root, request)
        return [dataset[i] for i in range(len(dataset))]

    before = samples()
    shutil.rmtree(voc_root / 'SegmentationClassAug')
    after = samples()
    assert len(before) == 3
    for one, other in zip(before, after):
        assert torch.equal(one['inputs'], other['inputs'])
        assert torch.equal(one['data_samples'].gt_label, other['data_samples'].gt_label)
        assert one['data_samples'].metainfo == other['data_samples'].metainfo
        assert 'gt_sem_seg' not in other['data_samples']


def test_validation_without_masks_is_refused_up_front(voc_root, request):
    shutil.rmtree(voc_root / 'SegmentationClassAug')
    config = Config.fromfile(request.config.rootpath / CONFIG).val_dataloader.dataset
    with pytest.raises(FileNotFoundError, match=r"seg_map_path'\]` of VOCImageLevelDataset.*SegmentationClassAug"):
        DATASETS.build({**config, 'data_root': str(voc_root), 'ann_file': SPLIT})


def test_test_time_augmentation_leaves_the_scales_to_the_model(voc_root, request):
    config = Config.fromfile(request.config.rootpath / CONFIG)
    assert config.tta_model == dict(type='MaxScaleTTAModel', scales=[1.0, 0.5, 0.75], long_side=512)
    sample = build(voc_root, pipeline=config.tta_pipeline)[0]
    assert sample['inputs'].shape == (3, 40, 56)
    assert sample['data_samples'].gt_sem_seg.data.shape == (1, 40, 56)


@pytest.mark.parametrize(
    ('break_it', 'kind', 'words'),
    [
        (lambda root: shutil.rmtree(root), FileNotFoundError, ['`data_root`', 'VOC2012', 'host.robots.ox.ac.uk']),
        (lambda root: (root / 'Annotations' / '2007_000002.xml').unlink(), FileNotFoundError, ['`xml_dir`', '1 of 3']),
        (lambda root: shutil.rmtree(root / 'Annotations'), FileNotFoundError, ['`xml_dir`', 'convert_labels.py']),
        (
            lambda root: write_xml(root / 'Annotations' / '2007_000002.xml', ['aeroplan']),
            ValueError,
            ['2007_000002.xml', "'aeroplan'", "'aeroplane'", 'tvmonitor'],
        ),
        (
            lambda root: (root / SPLIT).write_text('/JPEGImages/2007_000001.jpg /SegmentationClassAug/2007_000001.png'),
            ValueError,
            ['`ann_file`', '/JPEGImages/2007_000001.jpg'],
        ),
    ],
)
def test_errors_name_field_value_and_remedy(voc_root, break_it, kind, words):
    break_it(voc_root)
    with pytest.raises(kind) as error:
        build(voc_root)
    assert [word for word in words if word not in str(error.value)] == []
