"""Files that are whole or absent, whatever happens to the program."""

import os
import signal
import time

import pytest

from afa_mmseg.utils import atomic_path, refuse_same, remove_leftovers, write_text
from tests.utils.processes import start, wait_for


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half_and_wait(path):
    with atomic_path(path) as temporary:
        temporary.write_text('half')
        time.sleep(60)


def killed_while_writing(path):
    """Kill a process that has written half of a file; return its id."""
    process = start(write_half_and_wait, path)
    wait_for(lambda: any(p.read_text() == 'half' for p in path.parent.glob('.tmp-*')))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return process.pid


def test_the_final_name_holds_all_or_nothing(tmp_path):
    path = tmp_path / 'new' / 'a.png'
    with atomic_path(path) as temporary:
        temporary.write_text('part')
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == '.png'
    assert path.read_text() == 'part'
    assert names(path.parent) == ['a.png']


def write_half_and_fail(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text('half')
        raise error


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_error_the_old_file_stands_and_nothing_is_left(tmp_path, error):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(error):
        write_half_and_fail(path, error)
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['a.txt']


@pytest.mark.parametrize('old', [None, 'old'])
def test_a_killed_program_leaves_the_final_name_as_it_was_and_its_leftover_is_removed(tmp_path, old):
    path = tmp_path / 'a.txt'
    if old:
        path.write_text(old)
    pid = killed_while_writing(path)
    kept = ['a.txt'] if old else []
    assert names(tmp_path) == [f'.tmp-{pid}-a.txt', *kept]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == kept
    assert not old or path.read_text() == old


def test_what_a_running_program_writes_is_no_leftover(tmp_path):
    process = start(write_half_and_wait, tmp_path / 'a.txt')
    try:
        wait_for(lambda: names(tmp_path))
        remove_leftovers(tmp_path)
        assert names(tmp_path) == [f'.tmp-{process.pid}-a.txt']
    finally:
        process.kill()
        process.join()


def test_leftovers_only_are_removed(tmp_path):
    kept = ['a.txt', '.hidden', 'x.tmp-1-a', '.tmp-notes.txt', '.tmp-2024-']
    for name in (*kept, '.tmp-999999999-a.txt'):
        (tmp_path / name).touch()
    (tmp_path / '.tmp-999999999-folder').mkdir()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*kept, '.tmp-999999999-folder'])
    remove_leftovers(tmp_path / 'missing')


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / f'{"猫" * 83}.png'  # 253 bytes
    with atomic_path(path) as temporary:
        assert temporary.suffix == '.png'
        temporary.write_text('whole')
    assert path.read_text() == 'whole'


def write_again_and_again(path, letter):
    for _ in range(300):
        with atomic_path(path) as temporary:
            temporary.write_text(letter * 1000)


def test_programs_that_write_the_same_file_do_not_mix(tmp_path):
    path = tmp_path / 'a.txt'
    processes = [start(write_again_and_again, path, letter) for letter in 'xy']
    wait_for(path.exists)
    seen = {path.read_text() for _ in range(300)}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert seen <= {'x' * 1000, 'y' * 1000}
    assert names(tmp_path) == ['a.txt']


def test_text_is_written_when_it_differs_only(tmp_path):
    path = tmp_path / 'sub' / 'a.txt'
    assert write_text(path, 'Grüße\n')
    assert path.read_bytes() == 'Grüße\n'.encode()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not write_text(path, 'Grüße\n')
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert write_text(path, 'other')
    assert path.read_text() == 'other'


def test_an_output_that_is_an_input_is_refused(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path)
    with pytest.raises(ValueError, match='a.txt is the input'):
        refuse_same(tmp_path / 'link/a.txt', tmp_path / 'b.txt', tmp_path / 'a.txt')
    refuse_same(tmp_path / 'c.txt', tmp_path / 'a.txt')
