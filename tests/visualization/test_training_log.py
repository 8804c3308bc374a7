"""Logs of runs, read back: real ones, resumed ones, broken ones."""

import json

import pytest
from mmengine.config import Config

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import build_runner, prepare_runtime
from afa_mmseg.engine.options import set_resume
from afa_mmseg.visualization.training_log import read_runs
from tests.engine.training import CONFIG, OPTIONS
from tests.visualization.training_logs import STAMP, training, validation, write_log, write_run


def read_run(path):
    (run,) = read_runs([path])
    return run


def train(root, max_iters):
    """Train a small network up to an iteration, from the newest checkpoint on; validate every second one."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(OPTIONS)
    loader = dict(num_workers=0, persistent_workers=False)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].update(loader)
        cfg[f'{name}_dataloader'].dataset.data_root = str(root / 'data')
    cfg.merge_from_dict(
        {
            'train_cfg.max_iters': max_iters,
            'train_cfg.val_interval': 2,
            'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=2, _delete_=True),
            'default_hooks.logger.interval': 1,
            'visualizer.vis_backends': [dict(type='LocalVisBackend')],
            'visualizer.name': f'{root} {max_iters}',  # mmengine keeps visualizers by name
            'custom_hooks': [],
        }
    )
    cfg.work_dir = str(root / 'wd')
    set_resume(cfg)
    prepare_runtime(cfg, 'none')
    build_runner(cfg).train()


@pytest.mark.slow
def test_a_run_and_its_resumption_are_joined(tmp_path):
    make_shapes_voc(tmp_path / 'data', num_train=4, num_val=2, size=64)
    for max_iters in (2, 4):
        train(tmp_path, max_iters)
    assert len(list(tmp_path.glob('wd/*/vis_data/scalars.json'))) == 2
    run = read_run(tmp_path / 'wd')
    assert run.curves['loss'][0] == run.curves['lr'][0] == [1, 2, 3, 4]
    assert run.losses == ['loss', 'loss_affinity', 'loss_cls', 'loss_seg']
    for key in ('mIoU', 'cam/mIoU', 'propagated_cam/mIoU', 'refined_cam/mIoU', 'cls/f1'):
        assert run.curves[key][0] == [2, 4]
    steps, values = run.curves['mIoU']
    assert run.best == (steps[values.index(max(values))], max(values))


def test_iterations_repeated_after_a_resume_replace_the_first_ones(tmp_path):
    write_log(tmp_path, [*training(range(10, 101, 10)), validation(100, 90.0)])
    write_log(tmp_path, training(range(60, 81, 10), loss=lambda step: 5.0), stamp='20260102_120000')
    write_log(tmp_path, [validation(0, 99.0)], stamp='20260103_120000')  # a validation without training
    run = read_run(tmp_path)
    assert run.curves['loss'] == (
        [10, 20, 30, 40, 50, 60, 70, 80],
        [*(1 / s for s in range(10, 51, 10)), 5.0, 5.0, 5.0],
    )
    assert run.best is None


@pytest.mark.parametrize('part', ['', STAMP, f'{STAMP}/vis_data', f'{STAMP}/vis_data/scalars.json'])
def test_any_of_its_paths_names_a_run(tmp_path, part):
    write_run(tmp_path / 'wd')
    (run,) = read_runs([tmp_path / 'wd' / part])
    assert run.name == 'wd'
    assert run.best == (40, 60.0)
    assert len(run.curves['loss'][0]) == 40


def test_runs_are_named_by_folder_or_by_path(tmp_path):
    paths = [write_run(tmp_path / name) for name in ('a/wd', 'b/wd', 'b/other')]
    assert [run.name for run in read_runs([*paths, paths[0]])] == [str(paths[0]), str(paths[1]), 'other']


def test_a_last_line_cut_off_is_left_out(tmp_path):
    file = write_log(tmp_path, training([1, 2]))
    file.write_text(file.read_text()[:-20])
    assert read_run(file).curves['loss'][0] == [1]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'scalars.json is empty'),
        ('epoch 1\nepoch 2\n', "line 1 is 'epoch 1'"),
        ('{"a": 1}', 'line 1 is'),
        ('[1, 2]\n' * 2, 'line 1 is'),
        (json.dumps(dict(loss=1.0, lr=1.0, step=1)) + '\nbroken\n' * 2, 'line 2 is'),
        (json.dumps(dict(mIoU=1.0, step=1)), 'neither losses'),
    ],
)
def test_a_file_that_is_no_log_is_an_error(tmp_path, text, message):
    file = write_log(tmp_path, [])
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_run(file)


def test_a_folder_without_a_log_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=f'{tmp_path}/DATE_TIME/vis_data/scalars.json'):
        read_run(tmp_path)
