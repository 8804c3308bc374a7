"""A checkpoint of a real training with averaged weights, published, loaded again and taken to AFA and back."""

import json

import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.models.checkpoints import convert_file, convert_file_to_afa
from tests.models.checkpoints.states import assert_same
from tests.tools.toolbox import REPO, run_tool

CONFIG = f"""
_base_ = '{REPO}/configs/afa/afa_mit-tiny_shapes.py'
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(num_layers=(1, 1, 1, 2)),
    decode_head=dict(channels=32),
    train_cfg=dict(cls_only_until=0, cam_label_until=1),
)
train_cfg = dict(max_iters=3, val_interval=3)
param_scheduler = [dict(type='WarmupPolyLR', max_iters=3, warmup_iters=1)]
default_hooks = dict(checkpoint=dict(interval=3))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
"""


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A folder with a finished training, its figures, and what publishing its checkpoint said."""
    root = tmp_path_factory.mktemp('run')
    make_shapes_voc(str(root / 'data/ShapesVOC'), num_train=4, num_val=2)
    (root / 'small.py').write_text(CONFIG)
    run_tool('train.py', 'small.py', '--work-dir', 'wd', cwd=root)
    (log,) = root.glob('wd/2*/vis_data/2*.json')
    figures = [json.loads(line) for line in log.open()][-1]
    output = run_tool('publish_model.py', 'wd/iter_3.pth', 'published', cwd=root).stdout
    (path,) = (root / 'published').iterdir()
    return root, path, figures, output


@pytest.mark.slow
def test_the_averaged_weights_are_published_small(run):
    root, path, _, output = run
    assert 'EMA' in output
    assert f'published/{path.name}: ' in output
    assert path.name.startswith('small_')
    trained = torch.load(root / 'wd/iter_3.pth', weights_only=False)
    published = torch.load(path, weights_only=True)
    assert_same(published['state_dict'], dict(trained['state_dict']))
    raw = trained['ema_state_dict']['module.decode_head.classifier.weight']
    assert not torch.equal(published['state_dict']['decode_head.classifier.weight'], raw)
    assert path.stat().st_size < 0.3 * (root / 'wd/iter_3.pth').stat().st_size
    assert published['meta']['iter'] == 3
    assert published['meta']['dataset_meta']['classes'][1] == 'disc'


@pytest.mark.slow
def test_predictions_are_those_of_the_original_with_the_config_from_either(run, monkeypatch):
    root, path, _, _ = run
    monkeypatch.chdir(root)
    config = Config.fromfile('small.py')
    stored = Config.fromstring(torch.load(path, weights_only=True)['meta']['cfg'], '.py')
    image = str(next((root / 'data/ShapesVOC/JPEGImages').glob('val_*.jpg')))
    logits = []
    for cfg, checkpoint in ((config, 'wd/iter_3.pth'), (config, path), (stored, path)):
        model = init_model(cfg, str(checkpoint), device='cpu')
        assert model.dataset_meta['classes'][1] == 'disc'
        logits.append(inference_model(model, image).seg_logits.data)
    assert logits[0].std() > 0
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


@pytest.mark.slow
def test_testing_it_after_the_way_to_afa_and_back_repeats_the_validation(run):
    root, path, figures, _ = run
    convert_file_to_afa(path, root / 'wetr.pth')
    convert_file(root / 'wetr.pth', root / 'back.pth')
    run_tool('test.py', 'small.py', 'back.pth', '--work-dir', 'test', cwd=root)
    (result,) = [json.loads(file.read_text()) for file in root.glob('test/2*/2*.json')]
    assert result['mIoU'] == pytest.approx(figures['mIoU'], abs=0.011)
    assert result['aAcc'] == pytest.approx(figures['aAcc'], abs=0.011)
