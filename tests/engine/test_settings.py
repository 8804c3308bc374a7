"""Crop, classes and data root from the command line reach every place of a config that depends on them."""

import pytest
from mmengine.config import Config

from afa_mmseg.engine import merge_options
from tests.tools.toolbox import REPO

SHAPES = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
TOCO = REPO / 'configs/toco/toco_deit-b_voc.py'


def merged(path, **options):
    cfg = Config.fromfile(path)
    merge_options(cfg, options)
    return cfg


@pytest.mark.parametrize('crop', [(96, 64), [96, 64], 96])
def test_crops_and_the_preprocessor_follow_the_crop_size(crop):
    cfg = merged(SHAPES, crop_size=crop)
    size = (96, 96) if crop == 96 else (96, 64)
    assert cfg.train_dataloader.dataset.pipeline[-2].crop_size == cfg.model.data_preprocessor.size == size
    assert cfg.crop_size == size


def test_other_views_follow_the_crop_size():
    cfg = merged(TOCO, crop_size=320)
    steps = cfg.train_dataloader.dataset.pipeline
    assert steps[1].transforms[0].scale == steps[4].crop_size == cfg.model.data_preprocessor.size == (320, 320)


def test_all_data_sets_follow_data_root_and_classes():
    cfg = Config.fromfile(SHAPES)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)
    merge_options(cfg, dict(data_root='elsewhere', classes=['background', 'ring']))
    assert cfg.model.decode_head.num_classes == 2
    assert 'data_root' not in cfg.train_dataloader.dataset
    inner = (cfg.train_dataloader.dataset.dataset, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset)
    for dataset in inner:
        assert dataset.data_root == 'elsewhere'
        assert dataset.metainfo == dict(classes=['background', 'ring'])


def test_an_option_that_names_one_place_wins():
    options = {'data_root': 'a', 'val_dataloader.dataset.data_root': 'b'}
    cfg = merged(SHAPES, **options)
    assert (cfg.train_dataloader.dataset.data_root, cfg.val_dataloader.dataset.data_root) == ('a', 'b')


@pytest.mark.parametrize(
    ('name', 'value', 'form'),
    [
        ('crop_size', '128x128', 'crop_size=(256,256)'),
        ('crop_size', (128,), 'crop_size=(256,256)'),
        ('crop_size', 0, 'crop_size=256'),
        ('classes', 'background', 'classes=[background,cat,dog]'),
        ('data_root', 3, 'data_root=data/mine'),
    ],
)
def test_another_form_is_an_error_with_the_right_one(name, value, form):
    with pytest.raises(ValueError) as error:
        merged(SHAPES, **{name: value})
    assert name in str(error.value)
    assert str(value) in str(error.value)
    assert form in str(error.value)


def test_loaders_without_workers_have_no_persistent_ones():
    cfg = merged(SHAPES, **{'train_dataloader.num_workers': 0})
    assert 'persistent_workers' not in cfg.train_dataloader
    assert cfg.val_dataloader.persistent_workers
