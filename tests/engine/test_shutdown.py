"""Signals, exit codes and worker processes; signals to real runs are in tests/tools/test_faults.py."""

import signal
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.testing import assert_close

from afa_mmseg.engine import ShutdownHook, run_test, run_training, shutdown
from afa_mmseg.engine.shutdown import Stopped, explain, shield_workers
from afa_mmseg.utils.checkpoints import read_checkpoint
from tests.utils.processes import is_running

RUNNER = SimpleNamespace(train_loop=None, val_loop=None, hooks=[], iter=0)


@pytest.fixture
def hook():
    """A hook whose handlers are installed, whatever signals these tests ignore (`nohup`)."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in shutdown.SIGNALS}
    hook = ShutdownHook()
    hook.before_train(RUNNER)
    yield hook
    hook.release()
    for number, handler in before.items():
        assert signal.getsignal(number) == signal.SIG_DFL
        signal.signal(number, handler)


@pytest.mark.parametrize('number', shutdown.SIGNALS)
def test_a_signal_waits_for_the_next_iteration(hook, number):
    hook.before_train_iter(RUNNER, batch_idx=0)
    signal.raise_signal(number)
    signal.raise_signal(number)  # from the terminal and from torchrun
    with pytest.raises(Stopped) as raised:
        hook.before_train_iter(RUNNER, batch_idx=1)
    assert raised.value.number == number


def test_a_second_ctrl_c_stops_at_once(hook, monkeypatch):
    monkeypatch.setattr(shutdown, 'REPEAT_SECONDS', 0.0)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hook = ShutdownHook()
    hook.before_train(RUNNER)
    try:
        signal.raise_signal(signal.SIGHUP)
        assert not hook.number
    finally:
        hook.release()
        signal.signal(signal.SIGHUP, before)


def test_a_signal_of_another_rank_stops_this_one_and_one_that_comes_meanwhile_stops_the_next(monkeypatch):
    hook = ShutdownHook()
    hook._group = 'all'
    monkeypatch.setattr(shutdown.torch_dist, 'barrier', lambda **_: None)
    monkeypatch.setattr(shutdown.torch_dist, 'all_reduce', lambda *_, **__: hook._request(signal.SIGTERM, None))
    hook.before_train_iter(RUNNER, batch_idx=0)
    assert hook.number == signal.SIGTERM
    monkeypatch.setattr(shutdown.torch_dist, 'all_reduce', lambda number, *_, **__: number.fill_(signal.SIGINT))
    with pytest.raises(Stopped) as raised:
        hook.before_train_iter(RUNNER, batch_idx=1)
    assert raised.value.number == signal.SIGINT


def test_in_a_validation_ranks_agree_before_the_batches_that_all_have(monkeypatch):
    hook, runner = ShutdownHook(), SimpleNamespace(val_dataloader=range(3))
    monkeypatch.setattr(shutdown, 'all_gather_object', lambda number: [number, 2])
    agreed = []
    monkeypatch.setattr(hook, '_agree', lambda: agreed.append('all') or 0)
    hook.before_val_epoch(runner)
    for batch in range(3):
        hook.before_val_iter(runner, batch)
    assert len(agreed) == 2


@pytest.mark.parametrize(
    ('error', 'code'),
    [
        (None, 0),
        (Stopped(signal.SIGTERM), 75),
        (Stopped(signal.SIGUSR1), 75),
        (Stopped(signal.SIGINT), 130),
        (KeyboardInterrupt(), 130),
        (FloatingPointError('loss'), 1),
        (OSError(28, 'No space left on device'), 1),
        (FileNotFoundError('a.jpg'), 1),
    ],
)
def test_exit_codes(error, code, tmp_path, capsys):
    assert run_training(runner_that_raises(error, tmp_path)) == code
    assert len(capsys.readouterr().err.splitlines()) <= 2


def test_only_training_is_continued_by_resume(tmp_path, capsys):
    runner = runner_that_raises(KeyboardInterrupt(), tmp_path)
    runner.test = runner.train
    for run, named in ((run_training, True), (run_test, False)):
        assert run(runner) == 130
        assert ('--resume' in capsys.readouterr().err) == named


def test_errors_of_the_program_are_raised_once_training_has_begun(tmp_path):
    for error in (RuntimeError('out of memory'), ValueError('a bug'), KeyError('a bug')):
        with pytest.raises(type(error)):
            run_training(runner_that_raises(error, tmp_path))
    runner = runner_that_raises(ValueError('of a config'), tmp_path)
    runner.hooks[0].started = False
    assert run_training(runner) == 1


def runner_that_raises(error, tmp_path):
    def train():
        if error is not None:
            raise error

    hook = ShutdownHook()
    hook.started = True
    return SimpleNamespace(hooks=[hook], train=train, work_dir=str(tmp_path), cfg=SimpleNamespace(filename='a.py'))


class Own(torch.utils.data.Dataset):
    """Samples that never load after the first two."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index > 1:
            threading.Event().wait()
        return index


@pytest.mark.slow
def test_workers_ignore_what_stops_the_run_and_end_with_it():
    started = []
    loader = torch.utils.data.DataLoader(Own(), num_workers=2, worker_init_fn=started.append)
    shield_workers(loader)
    iterator = iter(loader)
    assert [int(next(iterator)) for _ in range(2)] == [0, 1]  # both workers have begun
    pids = [worker.pid for worker in iterator._workers]
    for number in shutdown.SIGNALS:  # from another process than their parent
        subprocess.run(['kill', f'-{number}', *map(str, pids)], check=True)
    time.sleep(0.3)  # for signals to arrive
    assert all(map(is_running, pids))
    for worker in iterator._workers:
        worker.terminate()  # as multiprocessing does at exit, and then waits for them
        worker.join(timeout=10)
    assert not any(map(is_running, pids))
    assert iterator._workers[0].exitcode == 0  # torch's handler raises an error otherwise


def test_the_traceback_of_a_worker_is_left_out_of_the_message():
    text = (
        'Caught FloatingPointError in DataLoader worker process 1.\nOriginal Traceback (most recent call last):\n'
        '  File "x.py", line 1, in f\nValueError: other\n\nDuring handling, another:\n'
        'FloatingPointError: a.jpg\n  Look there.\n'
    )
    assert explain(FloatingPointError(text)) == 'a.jpg\n  Look there.'
    assert explain(ValueError()) == 'ValueError'


class Growing(BaseModel):
    """A weight that grows by the learning rate in each step."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=-self.weight.sum()) if mode == 'loss' else [0]


class Nothing(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {}


class SignalInValidation(Hook):
    priority = 'HIGHEST'

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 1:
            signal.raise_signal(signal.SIGTERM)


def averaged_run(folder, hooks, resume=False):
    loader = dict(
        dataset=[dict(inputs=torch.zeros(1))] * 8, batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler')
    )
    return Runner(
        Growing(),
        str(folder),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=Evaluator(Nothing()),
        val_cfg={},
        train_cfg=dict(type='UpdateTrainLoop', max_iters=8, val_interval=4),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        default_hooks=dict(checkpoint=dict(type='AtomicCheckpointHook', interval=8, by_epoch=False), logger=None),
        custom_hooks=[dict(type='EMAHook', momentum=0.5), *hooks],
        log_level='ERROR',
        default_scope='mmseg',
        experiment_name=folder.name + str(resume),
        load_from=str(folder / 'iter_4.pth') if resume else None,
        resume=resume,
    )


def test_a_stop_in_a_validation_keeps_weights_and_their_average_apart(tmp_path):
    whole = averaged_run(tmp_path / 'whole', [])
    whole.train()
    stopped = averaged_run(tmp_path / 'stopped', [ShutdownHook(), SignalInValidation()])
    with pytest.raises(Stopped):
        stopped.train()
    for hook in stopped.hooks:
        if isinstance(hook, ShutdownHook):
            hook.release()
    averaged_run(tmp_path / 'stopped', [], resume=True).train()
    ends = [read_checkpoint(tmp_path / name / 'iter_8.pth') for name in ('whole', 'stopped')]
    for part in ('state_dict', 'ema_state_dict'):
        assert_close(ends[1][part], ends[0][part], rtol=0, atol=0)
