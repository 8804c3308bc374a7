"""The configs of VOC-Animals train on a made-up folder of its layout."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.tools.toolbox import REPO, run_tool, tool_environment

CLASSES = ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
FIGURES = ('mIoU', 'cam/mIoU', 'propagated_cam/mIoU', 'refined_cam/mIoU', 'cls/f1')
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
    for key in FIGURES:
        assert 0 <= figures[key] <= 100


@pytest.mark.slow
def test_the_table_is_trained_tested_and_written(folder):
    for name in '0123':
        shutil.copy(folder / 'data/voc_animals/masks/4.png', folder / f'data/voc_animals/masks/{name}.png')
    page = folder / 'out/README.md'
    names = ['afa_mit-b0_voc-animals', 'full_mit-b0_voc-animals']
    command = [sys.executable, REPO / 'benchmarks/voc_animals.py', '--data', folder / 'data/voc_animals', '--out']
    command += [folder / 'out', '--work-dir', folder / 'runs', '--only', *names, '--seeds', 0, '--cfg-options']
    settings = [option for option in OPTIONS if 'train_cfg' not in option.split('.')[1]]
    command += [*settings, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'model.backbone.init_cfg=None']
    subprocess.run([*map(str, command)], env=tool_environment(), check=True, timeout=900)
    table = page.read_text()  # of a page that did not exist
    page.write_text('before\n<!-- figures: table -->\nold\n<!-- end -->\nafter\n')
    subprocess.run([*map(str, command)], env=tool_environment(), check=True, timeout=900)  # everything is measured
    weak, full = (json.loads((folder / f'out/{name}_seed-0.json').read_text()) for name in names)
    assert set(weak['figures']) == {*FIGURES, 'tta/mIoU', 'crf/mIoU'}
    assert set(full['figures']) == {'mIoU'}
    log = [json.loads(line) for line in (folder / f'out/logs/{names[0]}_seed-0.json').open()]
    assert log[-1]['mIoU'] == pytest.approx(weak['figures']['mIoU'], abs=0.01)
    assert weak['iterations'] == 2
    assert weak['batch_size'] == 2  # of the options, not the config's
    assert f'{weak["figures"]["mIoU"] / full["figures"]["mIoU"]:.2f}' in table
    assert page.read_text() == f'before\n{table}after\n'
