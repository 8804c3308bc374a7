"""Faults of real runs: killed, stopped and interrupted processes, full disks, Slurm; and what they leave behind."""

import os
import re
import runpy
import signal
import subprocess
import time
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from afa_mmseg.engine import find_checkpoint
from tests.tools.test_scripts import in_path, write_program
from tests.tools.toolbox import REPO, run_tool, tool_environment
from tests.utils.processes import is_running, wait_for

#: A run that does not end by itself, with a checkpoint at iteration 5.
ENDLESS = ('train_cfg.max_iters=1000000', 'train_cfg.val_interval=1000000', 'default_hooks.checkpoint.interval=5')
SLOW_METRIC = """
import time
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
@METRICS.register_module()
class SlowMetric(BaseMetric):
    def process(self, batch, samples):
        print("validating", flush=True)
        time.sleep(1.5)
    def compute_metrics(self, results):
        return {}
"""


class Run:
    """A run of `tools/dist_train.sh` with two processes."""

    def __init__(self, config, work_dir, options=(), lines=''):
        self.work_dir, self.log = work_dir, work_dir.with_suffix('.log')
        (work_dir.parent / 'toy_probe.py').write_text('')
        (work_dir.parent / 'slow_metric.py').write_text(SLOW_METRIC)
        own = work_dir.parent / 'config.py'
        own.write_text(f'_base_ = {str(config)!r}\ncustom_hooks = []\n{lines}')
        with self.log.open('w') as file:
            self.torchrun = subprocess.Popen(
                ['bash', REPO / 'tools/dist_train.sh', own, '2', '--work-dir', work_dir]
                + ['--cfg-options', *ENDLESS, *options],
                env=tool_environment(PYTHONPATH=str(work_dir.parent), OMP_NUM_THREADS='1'),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def wait_until(self, condition):
        wait_for(lambda: condition() or self.torchrun.poll() is not None, seconds=150)
        assert condition(), self.output[-4000:]

    @property
    def output(self):
        return self.log.read_text()

    def rank(self, number):
        """Process id of a rank."""
        for pid in self.processes():
            environment = Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')
            parent = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[1]
            if f'RANK={number}'.encode() in environment and int(parent) == self.torchrun.pid:
                return pid
        raise AssertionError(self.output[-4000:])

    def processes(self):
        """Return all running processes, those that load images included."""
        found = []
        for process in Path('/proc').glob('[0-9]*'):
            try:
                if bytes(self.work_dir) in (process / 'cmdline').read_bytes() and is_running(process.name):
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    def assert_stopped(self, code, named):
        """Check that all processes end, and whether the last line names a rank with this code."""
        self.torchrun.wait(timeout=90)
        wait_for(lambda: self.processes() == [])
        assert self.torchrun.returncode != 0
        codes = re.findall(r'^train\.py: rank \d ended with exit code (\d+)', self.output, re.MULTILINE)
        assert codes == ([str(code)] if named else []), self.output[-4000:]


def last_iteration(work_dir):
    return int(re.search(r'iter_(\d+)', find_checkpoint(str(work_dir)))[1])


@pytest.mark.slow
@pytest.mark.parametrize('target', ['rank 1', 'torchrun', 'all'])
def test_a_signal_stops_all_ranks_with_a_checkpoint(toy_config, tmp_path, target):
    number, code = (signal.SIGINT, 130) if target == 'all' else (signal.SIGTERM, 75)
    options = ['train_dataloader.num_workers=1', 'default_hooks.checkpoint.interval=1000000']
    with Run(toy_config, tmp_path / 'run', options) as run:
        run.wait_until(lambda: 'Iter(train)' in run.output)
        if target == 'all':  # as a terminal does: to torchrun, ranks and workers
            for pid in run.processes():
                os.kill(pid, number)
        else:
            os.kill(run.torchrun.pid if target == 'torchrun' else run.rank(1), number)
        run.assert_stopped(code, named=target == 'rank 1')
    assert f'interrupted; --resume continues from the newest checkpoint in {run.work_dir}' in run.output
    assert 'death signal' not in run.output  # torchrun's own
    assert last_iteration(run.work_dir) > 0


@pytest.mark.slow
@pytest.mark.parametrize('target', ['rank 0', 'rank 1 of unequal ones', 'torchrun'])
def test_sigterm_in_a_validation_stops_all_ranks_with_a_checkpoint(toy_config, tmp_path, target):
    lines = "custom_imports = dict(imports=['afa_mmseg', 'slow_metric'])\nval_evaluator = [dict(type='SlowMetric')]\n"
    options = ['train_cfg.val_interval=7', 'default_hooks.checkpoint.interval=1000000']
    if 'unequal' in target:  # three batches on rank 0, two on rank 1
        options += ['val_dataloader.dataset.indices=5', 'val_dataloader.sampler.round_up=False']
    with Run(toy_config, tmp_path / 'run', options, lines=lines) as run:
        run.wait_until(lambda: 'validating' in run.output)
        os.kill(run.torchrun.pid if target == 'torchrun' else run.rank(int(target[5])), signal.SIGTERM)
        run.assert_stopped(75, named=target != 'torchrun')
    assert last_iteration(run.work_dir) == 7


@pytest.mark.slow
def test_a_killed_rank_ends_the_run(toy_config, tmp_path):
    with Run(toy_config, tmp_path / 'run') as run:
        run.wait_until((tmp_path / 'run/last_checkpoint').exists)
        start = time.monotonic()
        os.kill(run.rank(1), signal.SIGKILL)
        run.torchrun.wait(timeout=90)
        wait_for(lambda: run.processes() == [])
        assert time.monotonic() - start < 60
    assert 'train.py: rank 1 ended with SIGKILL' in run.output.splitlines()[-1]
    assert last_iteration(run.work_dir) >= 5


@pytest.mark.parametrize(
    ('failures', 'first'),
    [
        ({0: (-signal.SIGTERM, 10), 1: (-signal.SIGKILL, 11)}, 1),  # rank 0 lost its connection, then was ended
        ({0: (1, 10), 1: (-signal.SIGSEGV, 11)}, 1),
        ({0: (1, 10), 1: (-signal.SIGKILL, 62)}, 0),  # rank 1 did not end in torchrun's time
        ({0: (75, 11), 1: (1, 10)}, 1),  # torchrun stopped rank 0, which wrote a checkpoint
        ({0: (-signal.SIGTERM, 9), 1: (1, 10)}, 1),
    ],
)
def test_the_rank_that_failed_first_is_named(failures, first, tmp_path):
    found = {}
    for rank, (code, timestamp) in failures.items():
        found[rank] = ProcessFailure(rank, pid=1, exitcode=code, error_file=str(tmp_path / 'none'))
        found[rank].timestamp = timestamp
    first_cause = runpy.run_path(str(REPO / 'tools/_torchrun.py'))['first_cause']
    assert first_cause(ChildFailedError('train.py', found))[0] == first


@pytest.mark.slow
def test_a_full_disk_costs_no_checkpoint(toy_config, tmp_path):
    """A limit on the size of files fails as a full disk does, and for root too."""
    (tmp_path / 'toy_probe.py').write_text(
        'import resource, torch\n'
        'save = torch.save\n'
        'def save_then_fill(*args, **kwargs):\n'
        '    save(*args, **kwargs)\n'
        '    save_then_fill.calls += 1\n'
        '    if save_then_fill.calls == 2: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n'
        'save_then_fill.calls = 0\n'
        'torch.save = save_then_fill\n'
    )
    options = ['custom_hooks=[]', 'default_hooks.checkpoint.type=AtomicCheckpointHook', 'default_hooks.logger=None']
    process = run_tool(
        *('train.py', toy_config, '--work-dir', tmp_path / 'run', '--cfg-options', *options),
        'default_hooks.checkpoint.max_keep_ckpts=1',
        cwd=tmp_path,
        check=False,
        OMP_NUM_THREADS='1',
        PYTHONPATH=str(tmp_path),
    )
    assert process.returncode == 1
    assert f'{tmp_path}/run/iter_4.pth cannot be written (File too large)' in process.stdout
    assert 'Traceback' not in process.stdout
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_2.pth']


@pytest.mark.slow
@pytest.mark.parametrize('fault', ['work directory', 'data'])
def test_what_is_missing_is_one_message(fault, toy_config, tmp_path):
    (tmp_path / 'file').touch()
    config = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
    work_dir, named = ('file/run', 'file/run') if fault == 'work directory' else ('run', 'data/ShapesVOC')
    process = run_tool('train.py', config, '--work-dir', work_dir, cwd=tmp_path, check=False)
    assert process.returncode == 1
    assert re.search(rf'train\.py: error: .*{named}', process.stdout)
    assert 'Traceback' not in process.stdout


# Slurm

SRUN = """#!/usr/bin/env bash
echo "srun $*" >> calls
exit CODE
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >> calls
[[ $1 == show ]] && echo "   JobState=STATE Reason=None"
exit ANSWER
"""

JOB = dict(SLURM_JOB_ID='17')


def slurm_train(folder, code, state='RUNNING', answer=0, arguments=(), **environment):
    """Run `slurm_train.sh` beside a stand-in for Slurm; return its exit code and the calls it made."""
    (folder / 'config.py').touch()
    write_program(folder, 'srun', SRUN.replace('CODE', f'{code}'))
    write_program(folder, 'scontrol', SCONTROL.replace('STATE', state).replace('ANSWER', f'{answer}'))
    command = ('slurm_train.sh', 'gpu', 'afa', 'config.py', *arguments)
    process = run_tool(*command, cwd=folder, check=False, **environment, **in_path(folder))
    return process.returncode, (folder / 'calls').read_text().splitlines()


@pytest.mark.parametrize('answer', [0, 1])
@pytest.mark.parametrize('code', [75, 143])  # with a checkpoint; before there was one
def test_a_batch_job_that_was_stopped_is_requeued(tmp_path, code, answer):
    returned, calls = slurm_train(tmp_path, code, answer=answer, **JOB)
    assert returned == code
    assert calls[1:] == ['scontrol show job 17', 'scontrol requeue 17']
    assert '--resume' not in calls[0]


@pytest.mark.parametrize(('code', 'job'), [(0, JOB), (1, JOB), (130, JOB), (137, JOB), (75, {})])
def test_other_ends_and_jobs_outside_a_batch_are_not_requeued(code, job, tmp_path):
    returned, calls = slurm_train(tmp_path, code, **job)
    assert (returned, len(calls)) == (code, 1)


def test_a_cancelled_job_is_not_requeued(tmp_path):
    assert slurm_train(tmp_path, 75, state='CANCELLED', **JOB)[1][1:] == ['scontrol show job 17']


@pytest.mark.parametrize('arguments', [(), ('--resume',), ('--cfg-options', 'a=1')])
def test_a_job_that_starts_again_resumes(arguments, tmp_path):
    _, calls = slurm_train(tmp_path, 0, arguments=arguments, **JOB, SLURM_RESTART_COUNT='1')
    assert calls[0].split().count('--resume') == 1
