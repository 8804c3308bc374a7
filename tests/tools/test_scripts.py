"""The scripts of tools/ as processes, on the CPU: training, resume, testing, and their launchers."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tools.toolbox import REPO, run_tool, tool_environment


def write_program(folder, name, text):
    """Write an executable that stands in for the real one when ``folder`` comes first in PATH."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def in_path(folder):
    return dict(PATH=f'{folder}{os.pathsep}{os.environ["PATH"]}')


def last_figure(output, name='mIoU'):
    return float(re.findall(rf'{name}: ([\d.]+)', output)[-1])


def facts(work_dir, kind):
    """What the probe of the toy config noted in each process."""
    return [pickle.loads((work_dir / f'ToyProbe_{rank}_{kind}.pkl').read_bytes()) for rank in range(2)]


# Two processes on the CPU: train, resume, test


@pytest.fixture(scope='module')
def resumed(toy_config):
    """Two iterations in two processes, then three more with --resume: (work directory, output)."""
    work_dir = toy_config.parent / 'run'
    for iterations, options in ((2, ()), (5, ('--resume',))):
        output = run_tool(
            *('dist_train.sh', toy_config, 2, '--work-dir', work_dir, *options),
            *('--cfg-options', f'train_cfg.max_iters={iterations}'),
            cwd=toy_config.parent,
            PYTHONPATH=str(toy_config.parent),
        ).stdout
    return work_dir, output


@pytest.mark.slow
def test_resume_continues_at_the_next_iteration_with_the_same_schedule(resumed):
    steps = re.findall(r'Iter\(train\) \[\s*(\d+)/\d+\]\s+lr: (\S+)', resumed[1])
    expected = [(step, pytest.approx(0.1 * (1 - (step - 1) / 999), rel=1e-4)) for step in (3, 4, 5)]
    assert [(int(step), float(rate)) for step, rate in steps] == expected


@pytest.mark.slow
def test_processes_run_on_gloo_with_one_set_of_norm_statistics(resumed):
    first, second = facts(resumed[0], 'norm')
    assert first == second  # every process holds the same averaged statistics
    assert np.ptp(first.pop('mean')) > 0
    cores = len(os.sched_getaffinity(0))
    assert first == dict(
        norm='_BatchNormXd',
        iter=5,
        backend='gloo',
        threads=max(1, cores // 2),
        cuda=False,
        wrapper='CPUDistributedDataParallel',
    )


@pytest.mark.slow
def test_testing_reports_the_figure_of_the_validation(resumed, toy_config, tmp_path):
    work_dir, training = resumed
    output = run_tool(
        *('dist_test.sh', toy_config, work_dir / 'iter_5.pth', 2, '--work-dir', tmp_path, '--out', tmp_path / 'out'),
        cwd=tmp_path,
        PYTHONPATH=str(toy_config.parent),
    ).stdout
    assert last_figure(output) == last_figure(training)

    intersection, union = np.zeros(2), np.zeros(2)
    for index in range(6):
        predicted = np.asarray(Image.open(tmp_path / f'out/{index}.png'))
        truth = np.asarray(Image.open(toy_config.parent / f'mask/{index}.png'))
        for label in range(2):
            intersection[label] += ((predicted == label) & (truth == label)).sum()
            union[label] += ((predicted == label) | (truth == label)).sum()
    assert last_figure(output) == pytest.approx(100 * (intersection / union).mean(), abs=0.01)


@pytest.mark.slow
def test_slurm_tasks_find_each_other_on_the_cpu(resumed, toy_config, tmp_path):
    work_dir, training = resumed
    write_program(
        tmp_path,
        'srun',
        """#!/usr/bin/env bash
while [[ $1 == --* ]]; do case $1 in --ntasks=*) n=${1#*=} ;; esac; shift; done
export SLURM_NTASKS=$n SLURM_NODELIST=here
for ((i = 0; i < n; i++)); do SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & done
wait
""",
    )
    write_program(tmp_path, 'scontrol', '#!/usr/bin/env bash\n[[ "$*" == "show hostnames here" ]] && echo 127.0.0.1\n')
    output = run_tool(
        *('slurm_test.sh', 'cpu', 'job', toy_config, work_dir / 'iter_5.pth', '--work-dir', tmp_path),
        cwd=tmp_path,
        GPUS_PER_NODE='0',
        OMP_NUM_THREADS='1',
        PYTHONPATH=str(toy_config.parent),
        **in_path(tmp_path),
    ).stdout
    assert 'Iter(test) [3/3]' in output  # six images, three for each process
    assert last_figure(output) == last_figure(training)


@pytest.mark.slow
def test_one_process_augments_and_paints(resumed, toy_config, tmp_path):
    work_dir, _ = resumed
    output = run_tool(
        *('test.py', toy_config, work_dir / 'iter_5.pth', '--work-dir', tmp_path),
        *('--tta', '--show-dir', tmp_path / 'shown'),
        cwd=tmp_path,
        OMP_NUM_THREADS='1',
        PYTHONPATH=str(toy_config.parent),
    ).stdout
    assert 50 < last_figure(output) <= 100
    images = sorted((tmp_path / 'shown').rglob('*.png'))
    assert len(images) == 6
    assert all(image.width >= 2 * 160 for image in map(Image.open, images))  # ground truth beside prediction


@pytest.mark.slow
def test_one_process_trains_in_mixed_precision_and_logs_that_it_starts_anew(toy_config, tmp_path):
    (tmp_path / 'toy_probe.py').write_text('')
    output = run_tool(
        *('train.py', toy_config, '--work-dir', tmp_path / 'run', '--amp', '--resume'),
        *('--cfg-options', 'train_cfg.max_iters=2', 'custom_hooks=[]'),
        cwd=tmp_path,
        OMP_NUM_THREADS='1',
        PYTHONPATH=str(tmp_path),
    ).stdout
    assert f'--resume: no checkpoint in {tmp_path}/run' in output
    (log,) = (tmp_path / 'run').glob('2*/*.log')
    assert "type='CPUAmpOptimWrapper'" in log.read_text()  # the config, which the console leaves out
    assert 'Config:' not in output
    assert (tmp_path / 'run/iter_2.pth').is_file()


# Mistakes


@pytest.mark.parametrize('script', ['dist_train.sh', 'slurm_test.sh'])
def test_usage_is_printed_when_arguments_are_missing(script, tmp_path):
    process = run_tool(script, 'one', cwd=tmp_path, check=False)
    assert process.returncode == 2
    assert f'bash tools/{script}' in process.stdout
    assert 'set -euo' not in process.stdout


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        (['dist_train.sh', 'here.py', 'two'], "dist_train.sh: NUM_PROCS must be a positive number, got 'two'"),
        (['dist_test.sh', 'here.py', 'here.py', '0'], "dist_test.sh: NUM_PROCS must be a positive number, got '0'"),
    ],
)
def test_mistakes_print_one_clear_line(command, message, tmp_path):
    (tmp_path / 'here.py').write_text('model = dict()\n')
    process = run_tool(*command, cwd=tmp_path, check=False)
    assert process.returncode != 0
    assert process.stdout.splitlines()[-1].startswith(message)
    assert 'Traceback' not in process.stdout


@pytest.mark.slow
def test_several_processes_end_with_their_error_and_nothing_of_torchrun(tmp_path):
    process = run_tool('dist_train.sh', 'no.py', 2, cwd=tmp_path, check=False)
    *errors, last = process.stdout.splitlines()
    assert process.returncode == 1
    assert re.match(r'train\.py: rank [01] ended with exit code 1', last)
    assert errors
    assert all(line.startswith('train.py: error: config not found: no.py') for line in errors)


def test_a_checkpoint_of_another_network_of_mmseg_is_not_evaluated(toy_config, tmp_path):
    layer = 'decode_head.conv_seg'
    torch.save({f'{layer}.weight': torch.zeros(3, 8, 1, 1), f'{layer}.bias': torch.zeros(3)}, tmp_path / 'three.pth')
    process = run_tool(
        *('test.py', toy_config, 'three.pth', '--work-dir', 'run', '--tta'),
        cwd=tmp_path,
        check=False,
        PYTHONPATH=str(toy_config.parent),
    )
    assert process.returncode == 1
    assert 'test.py: error: three.pth: the checkpoint has 3 classes, the config 2' in process.stdout.splitlines()[-1]
    assert 'Traceback' not in process.stdout


# What the launchers pass on


@pytest.fixture
def fake_python(tmp_path):
    """An interpreter that prints its arguments and threads, but runs ``-c`` as the real one."""
    return str(
        write_program(
            tmp_path,
            'fake-python',
            f'#!/usr/bin/env bash\n[[ $1 == -c ]] && exec {sys.executable} "$@"\n'
            'echo "threads=$OMP_NUM_THREADS"; printf "%s\\n" "$@"\n',
        )
    )


def test_multi_node_variables_reach_torchrun(tmp_path, fake_python):
    (tmp_path / 'my config.py').touch()
    output = run_tool(
        *('dist_train.sh', 'my config.py', 3, '--amp', '--cfg-options', 'a=1 2'),
        cwd=tmp_path,
        **dict(PYTHON=fake_python, NNODES='2', NODE_RANK='1', PORT='1234', MASTER_ADDR='10.0.0.1'),
    ).stdout
    assert output.splitlines()[1:] == [
        *(str(REPO / 'tools/_torchrun.py'), '--nnodes=2', '--node_rank=1', '--master_addr=10.0.0.1'),
        *('--master_port=1234', '--nproc_per_node=3', str(REPO / 'tools/train.py'), 'my config.py'),
        *('--amp', '--cfg-options', 'a=1 2', '--launcher', 'pytorch'),
    ]


def test_one_node_uses_a_free_port_and_shares_the_cores(tmp_path, fake_python, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    for name in ('config.py', 'weights.pth'):
        (tmp_path / name).touch()
    lines = run_tool(
        'dist_test.sh', 'config.py', 'weights.pth', 2, cwd=tmp_path, PYTHON=fake_python
    ).stdout.splitlines()
    assert lines[0] == f'threads={max(1, len(os.sched_getaffinity(0)) // 2)}'
    assert 1024 < int(re.search(r'--master_port=(\d+)', ' '.join(lines))[1]) < 65536
    assert '--master_addr=127.0.0.1' in lines
    assert lines[-5:] == [str(REPO / 'tools/test.py'), 'config.py', 'weights.pth', '--launcher', 'pytorch']


@pytest.mark.parametrize(
    ('environment', 'resources'),
    [
        ({}, ['--gres=gpu:4', '--ntasks=4', '--ntasks-per-node=4']),
        (dict(GPUS='16', GPUS_PER_NODE='8'), ['--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8']),
        (dict(GPUS_PER_NODE='0', NUM_PROCS='6'), ['--ntasks=6']),
    ],
)
def test_slurm_asks_for_what_was_ordered(tmp_path, environment, resources):
    (tmp_path / 'config.py').touch()
    write_program(tmp_path, 'srun', '#!/usr/bin/env bash\necho "port=$MASTER_PORT"; printf "%s\\n" "$@"\n')
    output = run_tool(
        *('slurm_train.sh', 'gpu', 'afa', 'config.py', '--resume'),
        cwd=tmp_path,
        **dict(PORT='1234', PYTHON='python3', SRUN_ARGS='--quiet --exclusive', **environment, **in_path(tmp_path)),
    ).stdout
    assert output.splitlines() == [
        *('port=1234', '--partition=gpu', '--job-name=afa', *resources, '--cpus-per-task=5'),
        *('--kill-on-bad-exit=1', '--quiet', '--exclusive', 'python3', '-u', str(REPO / 'tools/train.py')),
        *('config.py', '--resume', '--launcher', 'slurm'),
    ]


# The environment


def use_venv(folder, **environment):
    command = f'source "{REPO}/tools/_venv.sh" && use_venv onedl && echo "PYTHON=$PYTHON"'
    return subprocess.run(
        ['bash', '-c', command],
        env=tool_environment(VENV=str(folder), **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_an_old_python_is_refused_by_name(tmp_path):
    write_program(tmp_path, 'old-python', '#!/usr/bin/env bash\nexit 1\n')
    process = use_venv(tmp_path / 'venv', PYTHON='old-python', **in_path(tmp_path))
    assert process.returncode == 1
    assert 'old-python is not Python 3.10 or newer' in process.stdout


def test_an_environment_is_installed_into_once(tmp_path):
    (tmp_path / 'bin').mkdir()
    write_program(tmp_path / 'bin', 'python', '#!/usr/bin/env bash\n[[ $1 == -c ]] || echo "called: $*"\n')
    first, second = use_venv(tmp_path), use_venv(tmp_path)
    assert re.search(r'called: -m pip install .*-e \S+\[onedl\]', first.stdout)
    assert 'called' not in second.stdout
    assert f'reusing {tmp_path}' in second.stdout
    assert second.stdout.splitlines()[-1] == f'PYTHON={tmp_path}/bin/python'
