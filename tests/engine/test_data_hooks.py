"""The classes of network and data set are compared before a run; testing requires all weights."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import build_runner, prepare_runtime
from afa_mmseg.engine.data_hooks import unwrap
from tests.tools.toolbox import REPO


@pytest.fixture
def config(tmp_path):
    """The quickstart's config, for one iteration on four images."""
    make_shapes_voc(tmp_path / 'data', num_train=3, num_val=1)
    cfg = Config.fromfile(REPO / 'configs/afa/afa_mit-tiny_shapes.py')
    options = {f'{name}_dataloader.dataset.data_root': str(tmp_path / 'data') for name in ('train', 'val', 'test')}
    options.update({f'{name}_dataloader.num_workers': 0 for name in ('train', 'val', 'test')})
    options.update({f'{name}_dataloader.persistent_workers': False for name in ('train', 'val', 'test')})
    cfg.merge_from_dict({**options, 'model.backbone.num_layers': (1, 1, 1, 2), 'train_cfg.max_iters': 1})
    cfg.work_dir = str(tmp_path / 'wd')
    prepare_runtime(cfg, 'none')
    return cfg


def test_another_number_of_classes_is_refused_before_weights_are_loaded(config):
    config.model.decode_head.num_classes = 4
    config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='gone.pth')
    with pytest.raises(ValueError, match=r'num_classes is 4.*train_dataloader has 7'):
        build_runner(config).train()


def test_the_validation_and_test_sets_are_checked_too(config):
    config.val_dataloader.dataset.metainfo = dict(classes=('background', 'disc', 'star'))
    with pytest.raises(ValueError, match='val_dataloader has 3 classes'):
        build_runner(config).train()
    config.model.decode_head.num_classes = 8
    with pytest.raises(ValueError, match='num_classes is 8.*test_dataloader has 7'):
        build_runner(config).test()


def test_a_class_at_another_index_than_in_the_checkpoint_is_refused(config, tmp_path):
    state = MODELS.build(config.model).state_dict()

    def save(*classes):
        torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes))), tmp_path / 'a.pth')

    config.load_from = str(tmp_path / 'a.pth')
    save('background', 'disc', 'triangle', 'square', 'star', 'ring', 'cross')
    with pytest.raises(ValueError, match=r"'square' is number 3 in the checkpoint and 2 in .*test_dataloader"):
        build_runner(config).test()
    save('background', *'abcdef')  # the same classes in another language
    build_runner(config).test()
    save('background', *'bacdef', 'disc')
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    build_runner(config).train()  # other classes may be learnt from these weights
    written = torch.load(tmp_path / 'wd/iter_1.pth', weights_only=False)
    written['meta']['dataset_meta']['classes'] = ('background', *'bacdef', 'disc')
    torch.save(written, tmp_path / 'a.pth')
    config.resume = True
    with pytest.raises(ValueError, match=r"'disc' is number 7 in the checkpoint and 1 in .*train_dataloader"):
        build_runner(config).train()


def test_cams_of_a_segmentor_without_any_are_not_validated(config):
    config.model.type = 'EncoderDecoder'
    config.model.pop('pseudo_labeler')
    config.model.pop('refiner', None)
    config.model.train_cfg = {}
    config.model.test_cfg = dict(mode='whole')
    config.model.decode_head.loss_decode = dict(type='CrossEntropyLoss')
    with pytest.raises(ValueError, match='CAMValLoop: model.type EncoderDecoder has no CAMs'):
        build_runner(config).train()


def test_training_starts_from_the_weights_that_fit(config, tmp_path):
    state = MODELS.build(config.model).state_dict()
    torch.save({key: value for key, value in state.items() if not key.startswith('decode_head.')}, tmp_path / 'a.pth')
    config.load_from = str(tmp_path / 'a.pth')
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.default_hooks.checkpoint = None
    runner = build_runner(config)
    runner.train()
    assert runner.iter == 1


def test_wrappers_are_taken_off():
    net = nn.Linear(1, 1)
    assert unwrap(nn.DataParallel(nn.DataParallel(net))) is net
    assert unwrap(net) is net
