"""Importing the package replaces nothing, tools add no hooks, and mmseg's own tools/train.py runs the same."""

import json
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import build_runner, prepare_runtime
from tests.tools.toolbox import REPO, run_tool, tool_environment

CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
MMSEG_TRAIN = Path(mmseg.__file__).parent / '.mim/tools/train.py'
IMPORT = """
import json, mmengine, mmpretrain, mmseg.apis, mmseg.registry, torch
from mmengine.fileio.backends.registry_utils import backends, prefix_to_backends
from mmengine.runner import CheckpointLoader
from mmseg.utils import register_all_modules
register_all_modules()

def snapshot():
    state = {}
    for module in (mmengine.registry, mmpretrain.registry, mmseg.registry):
        for name, registry in vars(module).items():
            if isinstance(registry, mmengine.registry.Registry):
                state.update({f'{module.__name__}.{name}.{key}': x for key, x in registry.module_dict.items()})
    state.update({f'scheme {name}': loader for name, loader in CheckpointLoader._schemes.items()})
    state.update({f'prefix {name}': backend for name, backend in prefix_to_backends.items()})
    state.update({f'backend {name}': backend for name, backend in backends.items()})
    for module in (torch, mmengine.runner.checkpoint, mmengine.runner, mmengine.hooks, mmseg.apis):
        state.update({f'{module.__name__}.{name}': x for name, x in vars(module).items() if callable(x)})
    return state

before = snapshot()
import afa_mmseg, afa_mmseg.apis
after = snapshot()
print(json.dumps([name for name in before if after.get(name) is not before[name]]))
"""


def test_importing_the_package_replaces_nothing():
    process = subprocess.run([sys.executable, '-c', IMPORT], cwd=REPO, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    assert json.loads(process.stdout.splitlines()[-1]) == []


@pytest.fixture
def config(tmp_path):
    """The quickstart's config on four images, for 20 iterations through all phases, without validation."""
    make_shapes_voc(tmp_path / 'data', num_train=8, num_val=1, size=64)
    lines = [
        f'_base_ = {str(CONFIG)!r}',
        'randomness = dict(seed=1)',
        'model = dict(train_cfg=dict(_delete_=True, cls_only_until=5, cam_label_until=12),',
        '             data_preprocessor=dict(size=(64, 64)), backbone=dict(num_layers=(1, 1, 1, 2)))',
        f'train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root={str(tmp_path)!r} + ',
        "                        '/data'))",
        'train_cfg = dict(max_iters=20, val_interval=20)',
        'param_scheduler = [dict(type="WarmupPolyLR", max_iters=20, warmup_iters=5)]',
        'default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=20, save_best=None))',
        'val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None',
        'custom_hooks = []',
    ]
    (tmp_path / 'short.py').write_text('\n'.join(lines) + '\n')
    return tmp_path / 'short.py'


def test_the_hooks_that_run_are_those_of_the_config_and_of_mmengine(config, tmp_path):
    cfg = Config.fromfile(config)
    cfg.work_dir = str(tmp_path / 'run')
    expected = {hook.type for hook in cfg.default_hooks.values()}
    assert {'FiniteLossHook', 'ShutdownHook', 'ResumeHook', 'AtomicCheckpointHook'} <= expected
    prepare_runtime(cfg, 'none')
    hooks = build_runner(cfg).hooks
    assert all(isinstance(hook, Hook) for hook in hooks)
    assert {type(hook).__name__ for hook in hooks} == {*expected, 'RuntimeInfoHook'}


@pytest.mark.slow
def test_mmsegs_own_train_script_has_the_same_losses(config, tmp_path):
    run_tool('train.py', config, '--work-dir', tmp_path / 'ours', cwd=tmp_path, OMP_NUM_THREADS='1')
    process = subprocess.run(
        [sys.executable, MMSEG_TRAIN, config, '--work-dir', tmp_path / 'theirs'],
        cwd=tmp_path,
        env=tool_environment(PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    ours, theirs = (losses(tmp_path / name) for name in ('ours', 'theirs'))
    assert ours == theirs
    assert len(ours) == 20
    assert ours[-1]['loss_seg'] > 0


def losses(work_dir):
    (log,) = work_dir.glob('2*/vis_data/scalars.json')
    lines = map(json.loads, log.read_text().splitlines())
    return [{name: value for name, value in line.items() if name == 'lr' or 'loss' in name} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize('imports', [[], ['afa_mmseg']])
def test_a_plain_mmseg_config_runs_with_and_without_the_package(imports, toy_config, tmp_path):
    lines = [
        f'_base_ = {str(toy_config)!r}',
        f'custom_imports = dict(imports={imports}, allow_failed_imports=False)',
        'custom_hooks = []',
        "default_hooks = dict(_delete_=True, logger=dict(type='LoggerHook', interval=1), checkpoint=None)",
        'train_cfg = dict(max_iters=3, val_interval=3)',
    ]
    (tmp_path / 'plain.py').write_text('\n'.join(lines) + '\n')
    process = subprocess.run(
        [sys.executable, MMSEG_TRAIN, 'plain.py', '--work-dir', 'run'],
        cwd=tmp_path,
        env=tool_environment(PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.returncode == 0, process.stdout[-4000:]
    assert 'Iter(train) [3/3]' in process.stdout
