"""The configs of VOC-Animals train on a made-up folder of its layout."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.tools.toolbox import REPO, run_tool

CLASSES = ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
OPTIONS = [
    'model.train_cfg.cls_only_until=0',
    'model.train_cfg.cam_label_until=2',
    'train_cfg.max_iters=5',
    'train_cfg.val_interval=5',
    'param_scheduler.0.max_iters=5',
    'param_scheduler.0.warmup_iters=2',
    'default_hooks.logger.interval=1',
    'train_dataloader.batch_size=2',
]


@pytest.fixture
def folder(tmp_path):
    """A checkout's data/voc_animals with six images; those of train.txt have no mask."""
    data = tmp_path / 'data/voc_animals'
    rng = np.random.default_rng(0)
    rows = []
    for i in range(6):
        (data / 'images').mkdir(parents=True, exist_ok=True)
        (data / 'masks').mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (264, 352, 3), dtype=np.uint8)).save(data / f'images/{i}.jpg')
        if i >= 4:
            mask = np.zeros((264, 352), np.uint8)
            mask[50:150, 50:200] = i
            Image.fromarray(mask).save(data / f'masks/{i}.png')
        rows.append(','.join([str(i), *(str(int(j in (i, 4))) for j in range(6))]))
    (data / 'labels.csv').write_text('\n'.join([','.join(['id', *CLASSES]), *rows]) + '\n')
    (data / 'train.txt').write_text('0\n1\n2\n3\n')
    (data / 'val.txt').write_text('4\n5\n')
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize('name', ['efficientnet-lite2', 'mit-b0'])
def test_a_short_run_goes_through_its_phases_and_validates(folder, name):
    if name == 'efficientnet-lite2':
        pytest.importorskip('timm')
    config = REPO / f'configs/afa/afa_{name}_voc-animals.py'
    options = [*OPTIONS, 'model.backbone.init_cfg=None']
    run_tool('train.py', config, '--work-dir', 'run', '--cfg-options', *options, cwd=folder, timeout=600)
    (file,) = folder.glob('run/2*/vis_data/2*.json')
    lines = [json.loads(line) for line in file.open()]
    training = [line for line in lines if 'loss' in line]
    assert [line['loss_seg'] > 0 for line in training] == [False, True, True, True, True]
    assert all(np.isfinite(line['loss']) for line in training)
    (figures,) = [line for line in lines if 'mIoU' in line]
    for key in ('mIoU', 'cam/mIoU', 'propagated_cam/mIoU', 'refined_cam/mIoU', 'cls/f1'):
        assert 0 <= figures[key] <= 100
