"""What happens to long runs, done to real ones: killed, stopped and interrupted processes, and what they leave."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from afa_mmseg.engine import find_checkpoint
from tests.tools.test_scripts import in_path, write_program
from tests.tools.toolbox import REPO, run_tool, tool_environment
from tests.utils.processes import wait_for

#: A run that does not end by itself, with a checkpoint at iteration 5.
ENDLESS = ('train_cfg.max_iters=1000000', 'train_cfg.val_interval=1000000', 'default_hooks.checkpoint.interval=5')
PORT = 20000 + os.getpid() % 20000


class Run:
    """Processes of `tools/train.py` that work together, started without a launcher that would end them all."""

    def __init__(self, config, work_dir, world=1, options=(), hooks=(), lines=''):
        self.work_dir = work_dir
        self.log = work_dir.with_suffix('.log')
        (work_dir.parent / 'toy_probe.py').write_text('')
        own = work_dir.parent / 'config.py'
        own.write_text(f'_base_ = {str(config)!r}\ncustom_hooks = {list(hooks)}\n{lines}')
        common = dict(PYTHONPATH=f'{work_dir.parent}', OMP_NUM_THREADS='1', MASTER_ADDR='127.0.0.1')
        self.processes = [
            subprocess.Popen(
                [sys.executable, REPO / 'tools/train.py', own, '--work-dir', work_dir]
                + (['--launcher', 'pytorch'] if world > 1 else [])
                + ['--cfg-options', *ENDLESS, *options],
                env=tool_environment(
                    **common, RANK=f'{rank}', LOCAL_RANK=f'{rank}', WORLD_SIZE=f'{world}', MASTER_PORT=f'{PORT}'
                ),
                stdout=self.log.open('a'),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for rank in range(world)
        ]

    def __enter__(self):
        self.wait_until((self.work_dir / 'last_checkpoint').exists)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def wait_until(self, condition):
        wait_for(lambda: condition() or any(process.poll() is not None for process in self.processes), seconds=150)
        if not condition():
            self.__exit__()
            raise AssertionError(self.output[-4000:])

    @property
    def output(self):
        return self.log.read_text()

    def codes(self, *ranks):
        return [self.processes[rank].wait(timeout=60) for rank in ranks]


def processes_of(session):
    """All running processes of a session."""
    stats = [(stat.parent.name, stat.read_text()) for stat in Path('/proc').glob('[0-9]*/stat')]
    fields = [(int(pid), text.rsplit(')', 1)[1].split()) for pid, text in stats]
    return [pid for pid, values in fields if int(values[3]) == session and values[0] != 'Z']


def last_iteration(work_dir):
    return int(re.search(r'iter_(\d+)', find_checkpoint(str(work_dir)))[1])


@pytest.mark.slow
def test_a_killed_process_is_named_by_the_other(toy_config, tmp_path):
    with Run(toy_config, tmp_path / 'run', world=2) as run:
        run.processes[1].kill()
        assert run.codes(0) == [1]
    assert f'train.py: error: rank 1 (process {run.processes[1].pid} on ' in run.output
    assert ' is gone\n  --resume goes on from the last checkpoint in ' in run.output
    assert 'Traceback' not in run.output
    assert last_iteration(run.work_dir) >= 5


@pytest.mark.slow
def test_a_process_that_no_longer_answers_is_named_by_the_other(toy_config, tmp_path):
    """As where GPUs wait for one another: no connection breaks."""
    with Run(toy_config, tmp_path / 'run', world=2, hooks=[dict(type='PeerHook', timeout=5)]) as run:
        run.processes[1].send_signal(signal.SIGSTOP)
        assert run.codes(0) == [1]
    assert f'rank 1 (process {run.processes[1].pid} on ' in run.output
    assert ' is gone: no sign of life for 5 s; --resume goes on' in run.output


@pytest.mark.slow
def test_sigterm_in_one_process_stops_all_at_the_same_iteration_with_a_checkpoint(toy_config, tmp_path):
    with Run(toy_config, tmp_path / 'run', world=2, options=['train_dataloader.num_workers=1']) as run:
        os.kill(run.processes[1].pid, signal.SIGTERM)
        assert run.codes(0, 1) == [75, 0]  # the main process alone: schedulers end a job at the first that fails
        assert [processes_of(process.pid) for process in run.processes] == [[], []]
    told = re.search(r'interrupted; --resume goes on from the last checkpoint in \S+: iter_(\d+)\.pth', run.output)
    assert int(told[1]) == last_iteration(run.work_dir)
    assert 'Traceback' not in run.output


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
def test_sigterm_in_one_process_during_a_validation_stops_all(toy_config, tmp_path, rank):
    (tmp_path / 'slow_metric.py').write_text(
        'import time\n'
        'from mmengine.evaluator import BaseMetric\n'
        'from mmseg.registry import METRICS\n'
        '@METRICS.register_module()\n'
        'class SlowMetric(BaseMetric):\n'
        '    def process(self, batch, samples):\n'
        '        print("validating", flush=True)\n'
        '        time.sleep(1.5)\n'
        '    def compute_metrics(self, results):\n'
        '        return {}\n'
    )
    lines = "custom_imports = dict(imports=['afa_mmseg', 'slow_metric'])\nval_evaluator = [dict(type='SlowMetric')]\n"
    run = Run(toy_config, tmp_path / 'run', world=2, options=['train_cfg.val_interval=5'], lines=lines)
    try:
        run.wait_until(lambda: 'validating' in run.output)
        os.kill(run.processes[rank].pid, signal.SIGTERM)
        assert run.codes(0, 1) == [75, 0]
    finally:
        run.__exit__()
    assert 'interrupted; --resume goes on from the last checkpoint in' in run.output
    assert 'Traceback' not in run.output
    assert last_iteration(run.work_dir) == 5


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_leaves_no_process_behind(toy_config, tmp_path):
    options = ['train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True']
    interval = 'default_hooks.checkpoint.interval=1000000'
    run = Run(toy_config, tmp_path / 'run', options=[*options, interval])
    try:
        run.wait_until(lambda: 'Iter(train)' in run.output)
        (process,) = run.processes
        assert len(processes_of(process.pid)) == 3
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        assert run.codes(0) == [130]
        assert processes_of(process.pid) == []
    finally:
        run.__exit__()
    assert last_iteration(run.work_dir) > 0
    assert 'Traceback' not in run.output


def test_a_disk_that_fills_up_costs_no_checkpoint(toy_config, tmp_path):
    """A limit on the size of files says 'no' as a full disk does, and as root too."""
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
        *('default_hooks.checkpoint.max_keep_ckpts=1', "custom_imports.imports=['afa_mmseg','toy_probe']"),
        cwd=tmp_path,
        check=False,
        OMP_NUM_THREADS='1',
        PYTHONPATH=str(tmp_path),
    )
    assert process.returncode == 1
    place = tmp_path / 'run'
    assert f'train.py: error: the checkpoint {place}/iter_4.pth cannot be written (File too large); ' in process.stdout
    assert f'--resume goes on from the last checkpoint in {place}: iter_2.pth' in process.stdout
    assert 'Traceback' not in process.stdout
    assert last_iteration(place) == 2
    assert [path.name for path in place.glob('*.pth')] == ['iter_2.pth']


def test_a_work_directory_that_cannot_be_written_is_said_before_anything_is_built(toy_config, tmp_path):
    (tmp_path / 'file').touch()
    command = ('train.py', toy_config, '--work-dir', 'file/run', '--cfg-options', 'model.type=NoSuchNetwork')
    process = run_tool(*command, cwd=tmp_path, check=False, PYTHONPATH=str(toy_config.parent))
    assert process.returncode == 1
    expected = 'train.py: error: the work directory file/run cannot be written (Not a directory)'
    assert process.stdout.splitlines()[-2:] == [expected, '  Choose another one: --work-dir']


def test_data_that_is_missing_is_one_message(tmp_path):
    config = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
    process = run_tool('train.py', config, '--work-dir', 'run', cwd=tmp_path, check=False)
    assert process.returncode == 1
    assert re.search(r'train\.py: error: .*data/ShapesVOC\n.*make_shapes_voc\.py', process.stdout)
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


def slurm_train(folder, code, state='RUNNING', answer=0, arguments=(), **environment):
    """Run `slurm_train.sh` beside a Slurm that answers so; how it ended, and the calls it made."""
    (folder / 'config.py').touch()
    write_program(folder, 'srun', SRUN.replace('CODE', f'{code}'))
    write_program(folder, 'scontrol', SCONTROL.replace('STATE', state).replace('ANSWER', f'{answer}'))
    command = ('slurm_train.sh', 'gpu', 'afa', 'config.py', *arguments)
    process = run_tool(*command, cwd=folder, check=False, **environment, **in_path(folder))
    return process, (folder / 'calls').read_text().splitlines()


@pytest.mark.parametrize('code', [75, 143])  # with a checkpoint; before there was one, or beside a process with 75
def test_a_batch_job_that_was_stopped_goes_back_into_the_queue(tmp_path, code):
    process, calls = slurm_train(tmp_path, code, SLURM_JOB_ID='17')
    assert process.returncode == code
    assert calls[1:] == ['scontrol show job 17', 'scontrol requeue 17']
    assert '--resume' not in calls[0]
    assert 'job 17 was stopped and waits in the queue again' in process.stdout


@pytest.mark.parametrize('code', [0, 1, 130, 137])
def test_other_ends_are_not_requeued(code, tmp_path):
    process, calls = slurm_train(tmp_path, code, SLURM_JOB_ID='17')
    assert process.returncode == code
    assert len(calls) == 1


def test_what_the_user_cancelled_stays_cancelled(tmp_path):
    process, calls = slurm_train(tmp_path, 75, state='CANCELLED', SLURM_JOB_ID='17')
    assert calls[1:] == ['scontrol show job 17']
    assert 'because it was cancelled; the same command with --resume goes on' in process.stdout


def test_a_refused_requeue_is_said(tmp_path):
    process, _ = slurm_train(tmp_path, 75, answer=1, SLURM_JOB_ID='17')
    assert process.returncode == 75
    assert 'cannot be requeued; the same command with --resume goes on' in process.stdout


@pytest.mark.parametrize('arguments', [(), ('--resume',), ('--cfg-options', 'a=1')])
def test_a_job_that_starts_again_resumes(arguments, tmp_path):
    _, calls = slurm_train(tmp_path, 0, arguments=arguments, SLURM_JOB_ID='17', SLURM_RESTART_COUNT='1')
    assert calls[0].split().count('--resume') == 1


def test_without_a_batch_job_nothing_is_requeued(tmp_path):
    process, calls = slurm_train(tmp_path, 75)
    assert process.returncode == 75
    assert len(calls) == 1
