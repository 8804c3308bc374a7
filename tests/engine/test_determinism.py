"""The same seed leads to the same weights, bit for bit: again, and with any number of worker processes."""

import runpy

import pytest
import torch
from mmengine.config import Config

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine.options import set_randomness
from tests.engine.training import CONFIG, OPTIONS
from tests.tools.toolbox import REPO

SCRIPT = str(REPO / 'tools/train.py')
ITERATIONS = 9
#: All phases, and everything that is random: weights, order, scale, crop, mirror image, drop path, dropout.
RANDOM = {
    **{key: value for key, value in OPTIONS.items() if 'pipeline' not in key},
    'train_dataloader.dataset.pipeline.3.crop_size': (64, 64),
    'model.decode_head.dropout_ratio': 0.1,
    'model.backbone.drop_path_rate': 0.3,
    'model.train_cfg.cls_only_until': 2,
    'model.train_cfg.cam_label_until': 5,
    'train_cfg.max_iters': ITERATIONS,
    'default_hooks.checkpoint': dict(interval=ITERATIONS, save_best=None),
}


@pytest.fixture
def config(tmp_path):
    """The quickstart's config, shortened, on a few images."""
    make_shapes_voc(tmp_path / 'data', num_train=10, num_val=1)
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({**RANDOM, 'train_dataloader.dataset.data_root': str(tmp_path / 'data')})
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.custom_hooks = []
    cfg.pop('train_pipeline')  # a part of train_dataloader by now
    cfg.dump(tmp_path / 'short.py')
    return tmp_path / 'short.py'


@pytest.fixture
def as_before():
    """Leave PyTorch's settings as they were."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def weights_after(config, monkeypatch, name, seed=3, workers=0):
    """Train by the command line, in this process; return the weights of the checkpoint."""
    settings = [f'experiment_name={name}', f'train_dataloader.num_workers={workers}']
    settings += ['train_dataloader.persistent_workers=True'] if workers else []
    work_dir = config.parent / name
    options = ['--seed', str(seed), '--deterministic', '--work-dir', str(work_dir), '--cfg-options', *settings]
    monkeypatch.setattr('sys.argv', [SCRIPT, str(config), *options])
    assert runpy.run_path(SCRIPT)['main']() == 0
    return torch.load(work_dir / f'iter_{ITERATIONS}.pth', weights_only=False)['state_dict']


def same(one, other):
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.slow
def test_the_same_seed_leads_to_the_same_weights_again_and_with_workers(config, monkeypatch, as_before):
    first = weights_after(config, monkeypatch, 'first')
    assert torch.are_deterministic_algorithms_enabled()
    torch.rand(7)  # what happened before in the process does not matter
    assert same(first, weights_after(config, monkeypatch, 'again'))
    assert same(first, weights_after(config, monkeypatch, 'workers', workers=2))
    assert not same(first, weights_after(config, monkeypatch, 'another', seed=4))


@pytest.mark.parametrize(
    ('in_config', 'given', 'expected'),
    [
        (None, {}, None),
        (dict(seed=1, diff_rank_seed=True), dict(seed=0), dict(seed=0, diff_rank_seed=True)),
        (dict(seed=1), dict(deterministic=True), dict(seed=1, deterministic=True)),
        (None, dict(seed=5, deterministic=True), dict(seed=5, deterministic=True)),
    ],
)
def test_options_go_into_the_config(monkeypatch, in_config, given, expected):
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    cfg = Config({} if in_config is None else dict(randomness=in_config))
    set_randomness(cfg, **given)
    assert cfg.get('randomness') == expected


@pytest.mark.parametrize('seed', [-1, 2**32])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f'--seed {seed} must be from 0 to 4294967295'):
        set_randomness(Config({}), seed=seed)
