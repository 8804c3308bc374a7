"""What a run prints: the interval of the log, and the records that the console leaves to the log file."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.hooks import LoggerHook

from afa_mmseg.engine import QuietRunner, RunLengthLoggerHook

HIDDEN = ['\n-----\nSystem environment:\n sys', 'Config:\nmodel = dict()', 'paramwise_options -- backbone.a:lr=1']
HIDDEN += ['backbone.bn1.weight is skipped since its requires_grad=False']


@pytest.mark.parametrize(('max_iters', 'interval'), [(20000, 50), (500, 50), (30, 3), (5, 1)])
def test_a_short_run_logs_ten_times(monkeypatch, max_iters, interval):
    used = []
    monkeypatch.setattr(LoggerHook, 'after_train_iter', lambda self, runner, **_: used.append(self.interval))
    hook = RunLengthLoggerHook(interval=50)
    hook.after_train_iter(SimpleNamespace(max_iters=max_iters), batch_idx=0)
    assert used == [interval]
    assert hook.interval == 50  # of validation


@pytest.mark.parametrize('verbose', [False, True])
def test_the_log_file_has_what_the_console_leaves_out(monkeypatch, tmp_path, capsys, verbose):
    monkeypatch.setenv('AFA_VERBOSE', str(int(verbose)))
    name = f'console_{verbose}'
    runner = SimpleNamespace(_experiment_name=name, _log_dir=str(tmp_path), timestamp='now')
    monkeypatch.setattr(QuietRunner, '__init__', lambda self: self.__dict__.update(vars(runner)))
    logger = QuietRunner().build_logger(log_level='INFO', log_file=str(tmp_path / 'run.log'))
    for record in (*HIDDEN, 'Iter(train) [3/3]'):
        logger.log(logging.INFO, record)
    shown, written = capsys.readouterr().out, (tmp_path / 'run.log').read_text()
    for record in HIDDEN:
        assert record in written
        assert (record in shown) == verbose
    assert 'Iter(train)' in shown
