"""A checkpoint of a real run with averaged weights, published, loaded again and converted to AFA and back."""

import json

import pytest
import torch
from mmseg.apis import inference_model

from afa_mmseg.apis import init_model
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.models.checkpoints import convert_file, convert_file_to_afa
from afa_mmseg.utils.checkpoints import read_state
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
    """A folder with a finished run, its figures, and the output of publishing its checkpoint."""
    root = tmp_path_factory.mktemp('run')
    make_shapes_voc(str(root / 'data/ShapesVOC'), num_train=4, num_val=2)
    (root / 'small.py').write_text(CONFIG)
    run_tool('train.py', 'small.py', '--work-dir', 'wd', cwd=root)
    (log,) = root.glob('wd/2*/vis_data/2*.json')
    figures = [json.loads(line) for line in log.open()][-1]
    (root / 'figures.json').write_text(json.dumps(figures))
    arguments = ['wd/iter_3.pth', 'published', '--license', 'apache-2.0', '--figures', 'figures.json']
    return root, figures, run_tool('publish_model.py', *arguments, cwd=root).stdout


@pytest.mark.slow
def test_the_averaged_weights_are_published_small(run):
    root, figures, output = run
    assert 'left out: ' in output
    assert 'optimizer' in output.splitlines()[-4]
    trained, published = torch.load(root / 'wd/iter_3.pth', weights_only=False), read_state(root / 'published')
    assert_same(published, dict(trained['state_dict']))
    raw = trained['ema_state_dict']['module.decode_head.classifier.weight']
    assert not torch.equal(published['decode_head.classifier.weight'], raw)
    size = (root / 'published/model.safetensors').stat().st_size
    assert size < 0.3 * (root / 'wd/iter_3.pth').stat().st_size
    assert f'| mIoU | {figures["mIoU"]} |' in (root / 'published/README.md').read_text()


@pytest.mark.slow
def test_predictions_are_those_of_the_original_with_the_config_from_either(run, monkeypatch):
    root, _, _ = run
    monkeypatch.chdir(root)
    image = str(next((root / 'data/ShapesVOC/JPEGImages').glob('val_*.jpg')))
    logits = []
    for config, checkpoint in (('small.py', 'wd/iter_3.pth'), ('published/config.json', 'published')):
        model = init_model(config, checkpoint)
        assert model.dataset_meta['classes'][1] == 'disc'
        logits.append(inference_model(model, image).seg_logits.data)
    assert logits[0].std() > 0
    assert torch.equal(*logits)


@pytest.mark.slow
def test_testing_it_and_the_way_to_afa_and_back_repeats_the_validation(run):
    root, figures, _ = run
    convert_file_to_afa(root / 'published', root / 'wetr.pth')
    convert_file(root / 'wetr.pth', root / 'back.pth')
    for name, arguments in dict(back=('small.py', 'back.pth'), json=('published/config.json', 'published')).items():
        run_tool('test.py', *arguments, '--work-dir', name, cwd=root)
        (result,) = [json.loads(file.read_text()) for file in root.glob(f'{name}/2*/2*.json')]
        assert result['mIoU'] == pytest.approx(figures['mIoU'], abs=0.011)
        assert result['aAcc'] == pytest.approx(figures['aAcc'], abs=0.011)
