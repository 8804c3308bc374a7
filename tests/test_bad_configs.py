"""Unexpected keys in sections of a config that ignore them, and configs that cannot be built."""

import re

import pytest
from mmengine.config import Config

from afa_mmseg.engine import check_config, naming_config
from tests.test_configs import SHIPPED
from tests.tools.toolbox import REPO

CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
PARAMWISE = 'optim_wrapper.paramwise_cfg'
MISSPELT = [
    ({'train_dataloder': dict(batch_size=2)}, ['train_dataloder', 'train_dataloader']),
    ({'default_hooks.checkpoint.max_keep_ckpt': 1}, ['checkpoint.max_keep_ckpt', 'max_keep_ckpts']),
    ({'optim_wrapper.clip_grad': dict(max_nrm=3)}, ['optim_wrapper.clip_grad.max_nrm', 'max_norm']),
    ({f'{PARAMWISE}.custom_keyz.head.lr_mult': 10.0}, [f'{PARAMWISE}.custom_keyz', 'custom_keys']),
    ({f'{PARAMWISE}.custom_keys.head.lr_mul': 10.0}, [f'{PARAMWISE}.custom_keys.head.lr_mul', 'lr_mult']),
    ({f'{PARAMWISE}.custom_keys.head.norm.lr_mult': 10.0}, [f'{PARAMWISE}.custom_keys.head.norm', 'lr_mult']),
    ({'auto_scale_lr.enabled': True}, ['auto_scale_lr.enabled', 'enable']),
    ({'env_cfg.dist_cgf': {}}, ['env_cfg.dist_cgf', 'dist_cfg']),
    ({'max_iters': 20}, ['--cfg-options max_iters', 'train_cfg.max_iters']),
    ({'long_side': 128}, ['--cfg-options long_side', 'copy of the config']),
    ({'train_pipeline.1.ratio_range': 1}, ['--cfg-options train_pipeline', 'train_dataloader.dataset.pipeline']),
    ({'val_evaluator': [dict(type='IoUMetric', iou_metric='mIoU')]}, ['val_evaluator.iou_metric', 'iou_metrics']),
    ({'model': None}, ['`model` is None']),
]
READ = [
    {f'{PARAMWISE}.custom_keys.head': dict(decay_mult=0.0, lr=1.0, betas=(0.5, 0.9)), f'{PARAMWISE}.bias_lr_mult': 2.0},
    {'optim_wrapper': dict(constructor='LearningRateDecayOptimizerConstructor', paramwise_cfg=dict(num_layers=12))},
    {'default_hooks.checkpoint': dict(published_keys=['state_dict'], save_begin=3, backend_args=None)},
    {'data_root': 'elsewhere', 'crop_size': (64, 64), 'classes': ['background', 'ring']},
    {'model_wrapper_cfg': dict(type='X'), 'sync_bn': 'torch'},
]


@pytest.mark.parametrize(('options', 'named'), MISSPELT, ids=lambda x: next(iter(x)) if isinstance(x, dict) else '')
def test_an_unexpected_key_is_named_with_the_closest_known_one(options, named):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(options)
    with pytest.raises(ValueError, match='(?s)' + '.*'.join(map(re.escape, [str(CONFIG), *named]))):
        check_config(config, options)


@pytest.mark.parametrize('options', READ, ids=str)
def test_keys_that_are_read_pass(options):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(options)
    check_config(config)


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_all_keys_of_shipped_configs_are_read(path, tmp_path):
    config = Config.fromfile(path)
    check_config(config)
    config.dump(tmp_path / 'written.py')  # as training does
    check_config(Config.fromfile(tmp_path / 'written.py'))


def test_errors_of_a_build_name_the_config_unless_the_traceback_is_asked_for(monkeypatch):
    with pytest.raises(ValueError, match='a.py cannot be built: TypeError: no'), naming_config('a.py'):
        raise TypeError('no')
    monkeypatch.setenv('AFA_TRACEBACK', '1')
    with pytest.raises(TypeError), naming_config('a.py'):
        raise TypeError('no')
