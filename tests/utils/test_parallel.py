"""Parallel map: order, errors, and processes that end with the program."""

import os
import signal
import time
from functools import partial

import pytest

from afa_mmseg.utils import run_command, run_parallel
from tests.utils.processes import is_running, start, wait_for


def square(number):
    time.sleep(0.001 * (number % 7))
    return number**2


def process_id(_):
    time.sleep(0.005)
    return os.getpid()


def fail_at(folder, number):
    (folder / str(number)).touch()
    if number == 3:
        raise ValueError(f'image {number}')
    time.sleep(0.02)


def die(number):
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(('num_workers', 'count'), [(0, 9), (1, 9), (2, 100), (2, 1), (2, 0), (None, 20)])
def test_results_have_the_order_of_the_items(num_workers, count):
    assert run_parallel(square, range(count), 'squares', num_workers) == [number**2 for number in range(count)]


def test_work_runs_on_other_processes_or_on_this_one():
    assert set(run_parallel(process_id, range(64), 'ids', 0)) == {os.getpid()}
    ids = set(run_parallel(process_id, range(64), 'ids', 2))
    assert len(ids) == 2
    assert os.getpid() not in ids
    wait_for(lambda: not any(map(is_running, ids)))


@pytest.mark.parametrize('num_workers', [0, 2])
def test_an_error_is_raised_and_the_rest_skipped(tmp_path, num_workers):
    with pytest.raises(ValueError, match='image 3'):
        run_parallel(partial(fail_at, tmp_path), range(1000), 'images', num_workers)
    assert 4 <= len(list(tmp_path.iterdir())) < 500


def test_a_killed_process_and_a_negative_number_are_errors():
    with pytest.raises(ChildProcessError, match='images: .* 2 processes'):
        run_parallel(die, range(100), 'images', 2)
    with pytest.raises(ValueError, match='num_workers=-1'):
        run_parallel(square, range(100), 'squares', -1)


def test_a_log_gets_a_line_for_each_tenth(capsys):
    run_parallel(square, range(50), 'squares', 2)
    assert capsys.readouterr().out == ''.join(f'squares: {done}/50\n' for done in range(5, 51, 5))


def note_and_wait(folder, _):
    (folder / str(os.getpid())).touch()
    time.sleep(0.05)


def work(folder):
    os.setpgrp()
    run_command(lambda: run_parallel(partial(note_and_wait, folder), range(10000), 'images', 2) and None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('send', 'number', 'code'),
    [
        (os.kill, signal.SIGINT, 130),
        (os.killpg, signal.SIGINT, 130),  # a terminal's Ctrl-C
        (os.kill, signal.SIGTERM, 143),
        (os.kill, signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_processes_end_with_the_program(tmp_path, send, number, code):
    folder = tmp_path / 'ids'
    folder.mkdir()
    process = start(work, folder, output=tmp_path / 'log')
    ids = wait_for(lambda: len(list(folder.iterdir())) == 2 and [int(path.name) for path in folder.iterdir()])
    send(process.pid, number)
    process.join(20)
    assert process.exitcode == code
    wait_for(lambda: not any(map(is_running, ids)))
    assert 'Traceback' not in (tmp_path / 'log').read_text()
