"""Keys of configs that nothing reads, values that cannot be, and configs that nothing can be built from."""

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import DATASETS

from afa_mmseg.datasets import ImageLevelDataset
from afa_mmseg.engine import naming_config
from afa_mmseg.engine.config_check import check_config
from tests.refusal import refused
from tests.tools.toolbox import REPO

CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
DATASET = 'train_dataloader.dataset'
PARAMWISE = 'optim_wrapper.paramwise_cfg'
MISSPELT = [
    ({'train_dataloder': dict(batch_size=2)}, ['train_dataloder', "did you mean 'train_dataloader'"]),
    ({'model.pseudo_labeler.cam_scale': (1.0,)}, ['model.pseudo_labeler.cam_scale', "'cam_scales'"]),
    ({'model.refiner.num_iter': 3}, ['model.refiner.num_iter', "'num_iters'"]),
    ({'model.decode_head.loss_cls.weight': 3}, ['model.decode_head.loss_cls.weight', "'loss_weight'"]),
    ({'model.decode_head.num_class': 3}, ['model.decode_head.num_class', "'num_classes'"]),
    ({'model.backbone.archs': 'b1'}, ['model.backbone.archs', "'arch'"]),
    ({'train_dataloader.batchsize': 2}, ['train_dataloader.batchsize', "'batch_size'"]),
    ({'train_dataloader.dataset.labels_file': 'x'}, ['train_dataloader.dataset.labels_file', "'label_file'"]),
    ({'train_dataloader.dataset.pipeline.1.ratio_rang': 1}, ['pipeline[1].ratio_rang', "'ratio_range'"]),
    ({'val_evaluator.0.iou_metric': ['mIoU']}, ['val_evaluator[0].iou_metric', "'iou_metrics'"]),
    ({'default_hooks.checkpoint.max_keep_ckpt': 1}, ['checkpoint.max_keep_ckpt', "'max_keep_ckpts'"]),
    ({'custom_hooks.0.intervall': 1}, ['custom_hooks[0].intervall', "'interval'"]),
    ({'optim_wrapper.optimizer.weight_decays': 1}, ['optimizer.weight_decays', "'weight_decay'"]),
    ({'param_scheduler.0.warmup_iter': 1}, ['param_scheduler[0].warmup_iter', "'warmup_iters'"]),
    ({'train_cfg.max_iter': 1}, ['train_cfg.max_iter', "'max_iters'"]),
    ({'tta_model.scale': [1.0]}, ['tta_model.scale', "'scales'"]),
    ({'tta_pipeline.0.typ': 'x'}, ['tta_pipeline[0].typ', 'known are']),
    (
        {'tta_pipeline': [dict(type='TestTimeAug', transforms=[[dict(type='Resize', scale=1, kep_ratio=True)]])]},
        ['tta_pipeline[0].transforms[0][0].kep_ratio', "'keep_ratio'"],
    ),
    ({'optim_wrapper.clip_grad': dict(max_nrm=3)}, ['optim_wrapper.clip_grad.max_nrm', "'max_norm'"]),
    ({f'{PARAMWISE}.custom_keyz.head.lr_mult': 10.0}, [f'{PARAMWISE}.custom_keyz', "'custom_keys'"]),
    ({f'{PARAMWISE}.custom_keys.head.lr_mul': 10.0}, [f'{PARAMWISE}.custom_keys.head.lr_mul', "'lr_mult'"]),
    ({f'{PARAMWISE}.custom_keys.head.norm.lr_mult': 10.0}, [f'{PARAMWISE}.custom_keys.head.norm: known are lr_mult']),
    ({f'{DATASET}.metainfo.class_names': ['x']}, [f'{DATASET}.metainfo.class_names', "'classes'"]),
    ({f'{DATASET}.metainfo.CLASSES': ['x']}, [f'{DATASET}.metainfo.CLASSES', 'known are classes, palette']),
    ({f'{DATASET}.metainfo.label_map': {}}, [f'{DATASET}.metainfo.label_map', 'known are classes, palette']),
    ({f'{DATASET}.data_prefix.img_pth': 'x'}, [f'{DATASET}.data_prefix.img_pth', "'img_path'"]),
    ({f'{DATASET}.data_prefix.seg_map': 'x'}, [f'{DATASET}.data_prefix.seg_map', "'seg_map_path'"]),
    ({f'{DATASET}.data_prefix.depth': 'x'}, [f'{DATASET}.data_prefix.depth', 'known are img_path, seg_map_path']),
    ({'randomness.sead': 1}, ['randomness.sead', "'seed'"]),
    ({'data_root': 'elsewhere'}, ['--cfg-options data_root', 'train_dataloader.dataset.data_root']),
    ({'train_pipeline.1.ratio_range': 1}, ['--cfg-options train_pipeline', 'train_dataloader.dataset.pipeline']),
]
WRONG_TYPES = [
    ({'model.pseudo_labeler.cam_scales': 'half'}, "model.pseudo_labeler.cam_scales='half' must be Sequence[float]"),
    ({'model.pseudo_labeler.radius': 2.5}, 'model.pseudo_labeler.radius=2.5 must be int'),
    ({'model.refiner.dilations': 3}, 'model.refiner.dilations=3 must be Sequence[int]'),
    ({'model.decode_head.num_classes': 'seven'}, "model.decode_head.num_classes='seven' must be int"),
    ({'model.decode_head.loss_affinity.loss_weight': None}, 'loss_affinity.loss_weight=None must be float'),
    ({'train_dataloader.dataset.label_file': ['a']}, "train_dataloader.dataset.label_file=['a'] must be Optional[str]"),
    ({'optim_wrapper.optimizer.lr': 'fast'}, "optim_wrapper.optimizer.lr='fast' must be "),
    ({'train_cfg.max_iters': 'many'}, "train_cfg.max_iters='many' must be int"),
    ({'param_scheduler.0.warmup_iters': 1.5}, 'param_scheduler[0].warmup_iters=1.5 must be int'),
    ({'randomness.seed': 'a'}, "randomness.seed='a' must be Optional[int]"),
    ({'model': None}, '`model` is None'),
]


@pytest.fixture
def told(caplog):
    """What mmengine's logger tells."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize(('options', 'words'), MISSPELT, ids=lambda x: next(iter(x)) if isinstance(x, dict) else '')
def test_keys_of_configs_that_nothing_reads(options, words):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(options)
    refused(check_config, config, options, words=[str(CONFIG), *words])


@pytest.mark.parametrize(('options', 'words'), WRONG_TYPES, ids=lambda x: next(iter(x)) if isinstance(x, dict) else '')
def test_values_of_configs_of_a_wrong_type(options, words):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(options)
    refused(check_config, config, words=[str(CONFIG), words])


@pytest.mark.parametrize('path', sorted((REPO / 'configs/afa').glob('*.py')), ids=lambda path: path.stem)
def test_all_keys_of_shipped_configs_are_read(path, told):
    check_config(Config.fromfile(path))
    assert 'nothing reads' not in told.text


def test_the_config_that_training_writes_is_read(tmp_path, told):
    Config.fromfile(CONFIG).dump(tmp_path / 'written.py')
    check_config(Config.fromfile(tmp_path / 'written.py'))
    assert 'nothing reads' not in told.text


@DATASETS.register_module(force=True)
class SomeonesDataset(ImageLevelDataset):
    """Of neither mmseg nor ours; nobody knows what it reads of `metainfo` and `data_prefix`."""


READ = [
    {f'{DATASET}.metainfo.task_name': 'x'},
    {DATASET: dict(type='SomeonesDataset', data_prefix=dict(depth='x'), metainfo=dict(task_name='x'))},
    {DATASET: dict(type='UnknownDataset', data_prefix=dict(img_pth='x'), metainfo=dict(class_names='x'))},
    {DATASET: dict(type='BaseCDDataset', data_prefix=dict(img_path='x', img_path2='x', seg_map_path='x'))},
    {DATASET: dict(type='NYUDataset', data_prefix=dict(img_path='x', depth_map_path='x'))},
    {f'{DATASET}.pipeline': [dict(type='Albu', transforms=[dict(type='RandomCrop', height=3, width=3)])]},
    {f'{PARAMWISE}.custom_keys.head': dict(decay_mult=0.0, lr=1.0, betas=(0.5, 0.9)), f'{PARAMWISE}.bias_lr_mult': 2.0},
    {'optim_wrapper': dict(constructor='LearningRateDecayOptimizerConstructor', paramwise_cfg=dict(num_layers=12))},
]


@pytest.mark.parametrize('options', READ, ids=str)
def test_keys_that_something_may_read_pass(options, told):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(options)
    check_config(config)
    assert 'nothing reads' not in told.text


def test_what_a_strange_data_set_may_not_read_is_told(told):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict({DATASET: dict(type='SomeonesDataset', metainfo=dict(class_names=['x']))})
    check_config(config)
    assert f"nothing reads {DATASET}.metainfo.class_names: did you mean 'classes'?" in told.text


@pytest.mark.parametrize('base', ["'./' + 'base.py'", "[f'./{chr(98)}ase.py']", "'./base.py'", '{{"$BASE:gone.py"}}'])
def test_bases_are_found_where_mmengine_finds_them(tmp_path, monkeypatch, told, base):
    monkeypatch.setenv('BASE', '"./base.py"')
    (tmp_path / 'base.py').write_text(f'_base_ = {str(CONFIG)!r}\nside = 3\nrandomness = dict(seed=side)\n')
    (tmp_path / 'mine.py').write_text(f'_base_ = {base}\nspare = 4\n')
    check_config(Config.fromfile(tmp_path / 'mine.py'))
    assert 'side' not in told.text
    assert ('nothing reads spare' in told.text) == ('$' not in base)


def test_a_variable_that_nothing_reads_is_told(tmp_path, told):
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(CONFIG)!r}\nside = 3\nspare = 4\nrandomness = dict(seed=side)\n')
    check_config(Config.fromfile(tmp_path / 'mine.py'))
    assert 'nothing reads spare' in told.text
    assert 'side' not in told.text


def test_where_an_error_of_a_config_was_raised_is_shown_on_request(monkeypatch):
    with pytest.raises(ValueError, match='a.py cannot be built: TypeError: no'), naming_config('a.py'):
        raise TypeError('no')
    monkeypatch.setenv('AFA_TRACEBACK', '1')
    with pytest.raises(TypeError), naming_config('a.py'):
        raise TypeError('no')
