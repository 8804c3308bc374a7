"""The parts that see faults and tell of them; what they do to real runs is in tests/tools/test_faults.py."""

import os
import resource
import signal
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as torch_dist

from afa_mmseg.engine import PeerHook, check_work_dir, interrupt, peers
from afa_mmseg.engine.faults import end_workers, explain, run_training
from afa_mmseg.engine.interrupt import InterruptHook, shield_workers
from afa_mmseg.engine.peers import PeerWatch
from tests.utils.processes import is_running, wait_for

NAMES = ['rank 0 (here)', 'rank 1 (there)', 'rank 2 (elsewhere)']


@pytest.fixture
def watches(monkeypatch):
    """Three processes' eyes on each other, as threads; the last two hand their message to a list."""
    monkeypatch.setattr(peers, 'BEAT_SECONDS', 0.02)
    store, heard = torch_dist.HashStore(), []
    made = [PeerWatch(store, rank, NAMES) for rank in range(3)]
    for watch in made:
        watch.stops = []
        watch.start(None, heard.append, watch.stops.append, lambda: False)
    yield made
    for watch in made:
        watch.leave(peers.LEFT)


def die(watch):
    """Stop beating without a word, as a killed process does."""
    watch._beat = lambda: None


def test_processes_that_live_are_not_gone(watches):
    assert watches[0].find_gone() == []


def test_a_process_that_stops_beating_is_gone_for_all_others(watches):
    die(watches[1])
    wait_for(lambda: watches[0].find_gone())
    assert watches[0].find_gone() == watches[2].find_gone() == ['rank 1 (there) is gone']


def test_a_process_that_left_in_order_is_not_gone(watches):
    watches[1].leave(peers.LEFT)
    assert watches[0].find_gone() == []


def test_a_process_that_failed_says_why(watches):
    watches[2].leave(peers.FAILED + 'a.jpg cannot be loaded')
    wait_for(lambda: watches[0].find_gone())
    assert watches[0].find_gone() == ['rank 2 (elsewhere) failed: a.jpg cannot be loaded']


def test_a_process_that_was_stopped_has_the_others_stop(watches):
    watches[2].leave(f'{peers.STOPPED}15')
    wait_for(lambda: watches[0].stops and watches[1].stops)
    assert (watches[0].stops[0], watches[1].find_stop(), watches[2].stops) == (15, 15, [])
    assert watches[0].find_gone() == []


def test_a_process_that_was_stopped_and_kept_the_store_is_not_gone(watches):
    watches[0].leave(f'{peers.STOPPED}15')
    wait_for(lambda: watches[1].stops)

    def refuse(*_):
        raise RuntimeError('connection reset')

    watches[1]._store = SimpleNamespace(set=refuse, multi_get=refuse)
    assert watches[1].find_gone() == []
    assert watches[1].find_stop() == 15


def test_who_has_ended_for_too_long_ends_the_wait(monkeypatch):
    """As where a GPU waits for one that failed: no connection breaks."""
    monkeypatch.setattr(peers, 'BEAT_SECONDS', 0.02)
    store, heard = torch_dist.HashStore(), []
    failed, listening = PeerWatch(store, 0, NAMES[:2]), PeerWatch(store, 1, NAMES[:2])
    for watch in (failed, listening):
        watch.start(0.2, heard.append, heard.append, lambda: False)
    failed.leave(peers.FAILED + 'a.jpg')
    wait_for(lambda: heard)
    assert heard == ['rank 0 (here) failed: a.jpg: no sign of life for 0 s']


def test_silence_ends_the_wait(monkeypatch):
    monkeypatch.setattr(peers, 'BEAT_SECONDS', 0.02)
    store, heard = torch_dist.HashStore(), []
    silent, listening = PeerWatch(store, 0, NAMES[:2]), PeerWatch(store, 1, NAMES[:2])
    busy = [True]
    listening.start(0.2, heard.append, heard.append, lambda: busy[0])
    wait_for(lambda: listening._missed[0] > 15)
    assert heard == []  # nobody is hurried who is about to end
    busy[0] = False
    wait_for(lambda: heard)
    assert heard == ['rank 0 (here) is gone: no sign of life for 0 s']
    assert silent._polls == 0


@pytest.mark.parametrize(
    ('agent', 'keeper'), [('True', 'torchrun on 10.0.0.1 is gone'), ('False', 'rank 0 (here) is gone')]
)
def test_whoever_keeps_the_store_is_gone_with_it(monkeypatch, watches, agent, keeper):
    monkeypatch.setenv('TORCHELASTIC_USE_AGENT_STORE', agent)
    monkeypatch.setenv('MASTER_ADDR', '10.0.0.1')

    def refuse(*_):
        raise RuntimeError('connection reset')

    watches[1]._store = SimpleNamespace(set=refuse, multi_get=refuse)
    assert watches[1].find_gone() == [keeper]


def test_a_timeout_that_ends_every_run_is_refused():
    with pytest.raises(ValueError, match='timeout of PeerHook is 1 s; choose 4 s or more'):
        PeerHook(timeout=1)


def test_a_signal_while_the_processes_agree_counts_for_the_next_iteration(monkeypatch):
    """Else one process would stop alone, or forget that it was asked to."""
    hook = InterruptHook()
    hook._group = 'all'
    monkeypatch.setattr(interrupt.torch_dist, 'all_reduce', lambda *_, **__: hook._request(signal.SIGTERM, None))
    hook.before_train_iter(None, batch_idx=0)
    assert hook.requested
    with pytest.raises(interrupt.Interrupted) as raised:
        hook.before_train_iter(None, batch_idx=1)
    assert raised.value.number == signal.SIGTERM


def test_a_signal_from_a_terminal_that_is_closed_still_counts():
    hook, ours = InterruptHook(), os.dup(2)
    leader, terminal = os.openpty()
    try:
        os.dup2(terminal, 2)
        os.close(leader)
        hook._request(signal.SIGHUP, None)
    finally:
        os.dup2(ours, 2)
        for number in (ours, terminal):
            os.close(number)
    with pytest.raises(interrupt.Interrupted) as raised:
        hook.before_train_iter(None, batch_idx=0)
    assert raised.value.number == signal.SIGHUP


def test_an_error_after_a_signal_is_told_as_what_it_is():
    def fail():
        interrupt_hook.request(signal.SIGTERM)
        raise RuntimeError('out of memory')

    interrupt_hook = InterruptHook()
    runner = SimpleNamespace(hooks=[interrupt_hook], train=fail)
    runner.register_hook = runner.hooks.append
    with pytest.raises(RuntimeError, match='out of memory'):
        run_training(runner)


def test_a_signal_of_another_process_stops_this_one(monkeypatch):
    hook = InterruptHook()
    hook._group = 'all'
    monkeypatch.setattr(interrupt.torch_dist, 'all_reduce', lambda number, *_, **__: number.fill_(signal.SIGTERM))
    with pytest.raises(interrupt.Interrupted):
        hook.before_train_iter(None, batch_idx=0)


class Own(torch.utils.data.Dataset):
    """Pictures that cannot be had after the first two: the next one takes for ever."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index > 1:
            threading.Event().wait()
        return index


def test_workers_ignore_what_stops_the_run_and_end_with_it():
    started = []
    loader = torch.utils.data.DataLoader(Own(), num_workers=2, worker_init_fn=started.append)
    shield_workers(loader)
    iterator = iter(loader)
    assert [int(next(iterator)) for _ in range(2)] == [0, 1]  # both workers have begun
    pids = [worker.pid for worker in iterator._workers]
    for number in interrupt.SIGNALS:
        for worker in iterator._workers:
            worker._popen._send_signal(number)
    time.sleep(0.3)  # for signals to arrive
    assert all(map(is_running, pids))
    end_workers()
    assert not any(map(is_running, pids))


def test_a_worker_s_error_is_told_without_its_traceback():
    text = (
        'Caught BrokenPictureError in DataLoader worker process 1.\nOriginal Traceback (most recent call last):\n'
        '  File "x.py", line 1, in f\nValueError: other\n\nDuring handling, another:\n'
        'afa_mmseg.datasets.broken_pictures.BrokenPictureError: a.jpg cannot be loaded: gone\n  Look there.\n'
    )
    kind = type('BrokenPictureError', (ValueError,), {})
    assert explain(kind(text)) == 'a.jpg cannot be loaded: gone\n  Look there.'
    assert explain(ValueError('plain')) == 'plain'
    assert explain(ValueError()) == 'ValueError'


@pytest.mark.parametrize('place', ['file/run', 'file'])
def test_a_work_directory_that_cannot_be_written_is_refused(place, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match=r'the work directory .* cannot be written \((Not a directory|File exists)\)'):
        check_work_dir(str(tmp_path / place))
    check_work_dir(str(tmp_path / 'new/run'))
    assert list((tmp_path / 'new/run').iterdir()) == []


def test_a_work_directory_without_room_is_refused(tmp_path):
    """A limit on the size of files says 'no' as a full disk does."""
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match=r'cannot be written \(File too large\)\n  Choose another one: --work-dir'):
            check_work_dir(str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
