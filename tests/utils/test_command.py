"""How scripts end: exit codes, and messages instead of tracebacks."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from afa_mmseg.utils import atomic_path, run_command
from tests.utils.processes import start, wait_for


def run(main, tmp_path):
    """Run a command in a process of its own: (exit code, output)."""
    process = start(command, main, output=tmp_path / 'log')
    process.join(20)
    return process.exitcode, (tmp_path / 'log').read_text()


def command(main):
    sys.argv[0] = '/somewhere/tool.py'
    run_command(main)


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(('result', 'code'), [(None, 0), (0, 0), (3, 3)])
def test_the_result_is_the_exit_code(tmp_path, result, code):
    assert run(lambda: result, tmp_path) == (code, '')


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (ValueError('mask a.png: broken'), 'mask a.png: broken'),
        (FileExistsError(17, 'File exists', 'a.png'), "[Errno 17] File exists: 'a.png'"),
        (ModuleNotFoundError('pip install scipy'), 'pip install scipy'),
    ],
)
def test_a_mistake_of_the_user_is_one_message(tmp_path, error, text):
    assert run(raising(error), tmp_path) == (1, f'tool.py: error: {text}\n')


@pytest.mark.parametrize('error', [RuntimeError('ours'), KeyError('ours')])
def test_a_mistake_of_ours_keeps_its_traceback(tmp_path, error):
    code, output = run(raising(error), tmp_path)
    assert code == 1
    assert 'Traceback' in output
    assert 'ours' in output


def write_and_wait(path):
    with atomic_path(path) as temporary:
        temporary.touch()
        time.sleep(60)


@pytest.mark.parametrize(('number', 'code', 'text'), [(signal.SIGINT, 130, 'interrupted'), (signal.SIGTERM, 143, '')])
def test_signals_end_the_program_and_what_is_half_written_is_removed(tmp_path, number, code, text):
    folder = tmp_path / 'out'
    process = start(command, lambda: write_and_wait(folder / 'a.txt'), output=tmp_path / 'log')
    wait_for(lambda: folder.is_dir() and list(folder.iterdir()))
    os.kill(process.pid, number)
    process.join(20)
    assert process.exitcode == code
    assert list(Path(folder).iterdir()) == []
    output = (tmp_path / 'log').read_text()
    assert text in output
    assert 'Traceback' not in output
