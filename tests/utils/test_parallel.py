"""Work on several processes: order, errors, progress, and that nothing runs on afterwards."""

import os
import re
import signal
import time

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
        raise ValueError(f'picture {number}: broken')
    time.sleep(0.02)


def die(number):
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)


class FailAt:
    """`fail_at` of a folder, as something that travels to other processes."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __call__(self, number):
        return self.function(*self.arguments, number)


@pytest.mark.parametrize('num_workers', [0, 1, 2, None])
@pytest.mark.parametrize('count', [0, 1, 8, 9, 100])
def test_results_come_in_the_order_of_the_items(num_workers, count):
    assert run_parallel(square, range(count), 'squares', num_workers) == [number**2 for number in range(count)]


def test_work_is_spread_over_processes_or_stays_here():
    assert set(run_parallel(process_id, range(64), 'ids', 0)) == {os.getpid()}
    ids = set(run_parallel(process_id, range(64), 'ids', 2))
    assert len(ids) == 2
    assert os.getpid() not in ids
    wait_for(lambda: not any(map(is_running, ids)))


@pytest.mark.parametrize('num_workers', [0, 2])
def test_an_error_reaches_the_caller_and_what_nobody_began_is_left_out(tmp_path, num_workers):
    with pytest.raises(ValueError, match='picture 3: broken'):
        run_parallel(FailAt(fail_at, tmp_path), range(1000), 'pictures', num_workers)
    begun = len(list(tmp_path.iterdir()))
    assert 4 <= begun < 500
    time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) == begun


def test_a_process_that_is_killed_is_an_error_with_a_remedy():
    with pytest.raises(ChildProcessError, match=r'pictures: one of 2 processes was killed.*memory.*choose fewer'):
        run_parallel(die, range(100), 'pictures', 2)


def test_a_negative_number_of_processes_is_an_error():
    with pytest.raises(ValueError, match=r'num_workers is -1; choose 0'):
        run_parallel(square, range(100), 'squares', -1)


def test_a_log_gets_a_line_for_each_tenth(capsys):
    run_parallel(square, range(50), 'squares', 2)
    assert capsys.readouterr().out == ''.join(f'squares: {done}/50\n' for done in range(5, 51, 5))


# Programs that end early


def note_and_wait(folder, _):
    (folder / str(os.getpid())).touch()
    time.sleep(0.05)


def work(folder):
    run_command(lambda: run_parallel(FailAt(note_and_wait, folder), range(10000), 'pictures', 2) and None)


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_processes_end_with_the_program_however_it_ends(tmp_path, number, code):
    folder = tmp_path / 'ids'
    folder.mkdir()
    process = start(work, folder, output=tmp_path / 'log')
    ids = wait_for(lambda: len(list(folder.iterdir())) == 2 and [int(path.name) for path in folder.iterdir()])
    assert all(map(is_running, ids))
    os.kill(process.pid, number)
    process.join(20)
    assert process.exitcode == code
    wait_for(lambda: not any(map(is_running, ids)))
    assert 'Traceback' not in (tmp_path / 'log').read_text()


def test_ctrl_c_in_a_terminal_reaches_all_processes_and_gives_one_message(tmp_path):
    folder = tmp_path / 'ids'
    folder.mkdir()
    process = start(lead_group, folder, output=tmp_path / 'log')
    ids = wait_for(lambda: len(list(folder.iterdir())) == 2 and [int(path.name) for path in folder.iterdir()])
    os.killpg(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 130
    wait_for(lambda: not any(map(is_running, ids)))
    lines = [line for line in (tmp_path / 'log').read_text().splitlines() if not re.match(r'pictures: \d', line)]
    assert len(lines) == 1
    assert 'interrupted; the same command goes on from here' in lines[0]


def lead_group(folder):
    os.setpgrp()
    work(folder)
