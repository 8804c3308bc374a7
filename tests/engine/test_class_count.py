"""Training and testing stop at once where network and data set have different classes, testing without all weights."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import build_runner, enable_tta, prepare_runtime
from afa_mmseg.engine.class_count import unwrap
from afa_mmseg.engine.faults import run_test
from afa_mmseg.utils.checks import check_class_count
from tests.tools.toolbox import REPO


@pytest.fixture
def config(tmp_path):
    """The quickstart's config, for one iteration on four pictures."""
    make_shapes_voc(tmp_path / 'data', num_train=3, num_val=1)
    cfg = Config.fromfile(REPO / 'configs/afa/afa_mit-tiny_shapes.py')
    options = {f'{name}_dataloader.dataset.data_root': str(tmp_path / 'data') for name in ('train', 'val', 'test')}
    options.update({f'{name}_dataloader.num_workers': 0 for name in ('train', 'val', 'test')})
    options.update({f'{name}_dataloader.persistent_workers': False for name in ('train', 'val', 'test')})
    cfg.merge_from_dict({**options, 'model.backbone.num_layers': (1, 1, 1, 2), 'train_cfg.max_iters': 1})
    cfg.work_dir = str(tmp_path / 'wd')
    prepare_runtime(cfg, 'none')
    return cfg


def save_weights(config, path, without=None):
    """Write weights of the network, all or without some."""
    state = MODELS.build(config.model).state_dict()
    torch.save({key: value for key, value in state.items() if not key.startswith(without or '-')}, path)


def test_it_names_both_numbers_the_classes_and_the_line_to_change(config, tmp_path):
    config.model.decode_head.num_classes = 4
    # Not even looked for: the message comes before weights are loaded.
    config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='gone.pth')
    with pytest.raises(ValueError) as error:
        build_runner(config).train()
    words = ['decode_head.num_classes is 4', 'train_dataloader has 7', 'disc, square', 'Write num_classes=7']
    assert [word for word in words if word not in str(error.value)] == []


def test_it_checks_the_validation_set_too(config):
    config.val_dataloader.dataset.metainfo = dict(classes=('background', 'disc', 'star'))
    with pytest.raises(ValueError, match='data set of val_dataloader has 3 classes'):
        build_runner(config).train()


def test_it_checks_the_test_set(config):
    config.model.decode_head.num_classes = 8
    config.load_from = None
    with pytest.raises(ValueError, match='num_classes is 8.*test_dataloader has 7'):
        build_runner(config).test()


def test_the_right_number_trains(config):
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.default_hooks.checkpoint = None
    runner = build_runner(config)
    runner.train()
    assert runner.iter == 1
    assert all(torch.isfinite(parameter).all() for parameter in runner.model.parameters())


def test_equal_numbers_pass():
    check_class_count(3, ['background', 'cat', 'dog'], 'the data set')


@pytest.mark.parametrize('tta', [False, True])
def test_a_checkpoint_of_another_network_is_not_evaluated(config, tmp_path, capsys, tta):
    save_weights(config, tmp_path / 'other.pth', without='backbone.layers.0.')
    if tta:
        enable_tta(config)
    config.load_from = str(tmp_path / 'other.pth')
    runner = build_runner(config)
    evaluated = []
    runner.test_loop.run_iter = lambda *_: evaluated.append(1)
    assert run_test(runner) == 1
    message = capsys.readouterr().err
    assert 'other.pth: the checkpoint is not one of this config: it lacks' in message
    assert "'backbone.layers.0.0.projection.weight'" in message
    assert evaluated == []


def test_the_checkpoint_of_the_config_is_evaluated(config, tmp_path):
    save_weights(config, tmp_path / 'whole.pth')
    config.load_from = str(tmp_path / 'whole.pth')
    assert run_test(build_runner(config)) == 0


def test_errors_after_the_first_picture_are_raised(config, tmp_path):
    save_weights(config, tmp_path / 'whole.pth')
    config.load_from = str(tmp_path / 'whole.pth')
    runner = build_runner(config)

    def fail(*_):
        raise ValueError('of the program')

    runner.test_loop.run_iter = fail
    with pytest.raises(ValueError, match='of the program'):
        run_test(runner)


def test_training_starts_from_what_fits(config, tmp_path):
    save_weights(config, tmp_path / 'other.pth', without='decode_head.')
    config.load_from = str(tmp_path / 'other.pth')
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.default_hooks.checkpoint = None
    runner = build_runner(config)
    runner.train()
    assert runner.iter == 1


def test_wrappers_are_taken_off():
    net = nn.Linear(1, 1)
    assert unwrap(nn.DataParallel(nn.DataParallel(net))) is net
    assert unwrap(net) is net
