"""Logs of runs, read back: resumed ones, broken ones; a real one is in test_hook.py."""

import json

import pytest

from afa_mmseg.visualization.curves import draw_curves
from afa_mmseg.visualization.training_log import read_runs
from tests.visualization.training_logs import STAMP, training, validation, write_log, write_run


def read_run(path):
    (run,) = read_runs([path])
    return run


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


def test_a_log_by_itself_is_named_by_its_file(tmp_path):
    log = write_log(tmp_path, training([1, 2])).rename(tmp_path / 'afa_seed-0.json')
    assert [run.name for run in read_runs([log])] == ['afa_seed-0']


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


def test_a_part_without_a_record_and_one_without_validation_are_no_reason_to_draw_nothing(tmp_path):
    for name, lines in (
        ('20260101_000000', [dict(lr=0.1, loss=1.0, step=1), dict(mIoU=50.0, step=2)]),
        ('20260101_000001', [dict(lr=0.1, loss=0.5, step=1)]),
        ('20260101_000002', []),
    ):
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    (run,) = read_runs([tmp_path])
    assert run.curves == dict(loss=([1], [0.5]), lr=([1], [0.1]))
    draw_curves([run])
