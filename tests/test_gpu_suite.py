"""The suite for GPUs runs on a CPU and loses nothing where a part fails; the CPU figures fill their page."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tests.tools.toolbox import REPO, tool_environment
from tests.utils.processes import is_running, wait_for

BENCHMARKS = REPO / 'benchmarks'
LETTERS = [*'0abcdefghi']


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Import the files of benchmarks/ by their names, as they do themselves."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def run_suite(out, *arguments):
    command = [sys.executable, BENCHMARKS / 'gpu_suite.py', '--device', 'cpu', '--quick', '--out', out, *arguments]
    environment = tool_environment(PYTHONPATH=str(REPO))
    process = subprocess.run(command, cwd=out.parent, env=environment, capture_output=True, text=True, timeout=600)
    document = json.loads((out / 'results.json').read_text())
    return process.returncode, document, (out / 'results.md').read_text()


@pytest.mark.slow
def test_every_part_is_ok_at_toy_size(tmp_path):
    code, document, page = run_suite(tmp_path / 'out')
    assert {part['part']: part['status'] for part in document['parts']} == dict.fromkeys(LETTERS, 'ok')
    assert code == 0
    assert page.count('\n## ') == len(LETTERS)
    tables = {part['part']: part['tables'] for part in document['parts']}
    assert len(tables['a']['checks']) > 25
    assert tables['c']['steps'][0]['step_ms'] > 0
    assert tables['i']['afa_mit-tiny_shapes'][-1]['mIoU'] >= 0
    assert document['record']['torch'] == torch.__version__


@pytest.mark.slow
def test_a_part_that_fails_leaves_the_others(tmp_path):
    code, document, page = run_suite(tmp_path / 'out', '--parts', 'd', 'e', 'f', '--fail', 'e')
    status = {part['part']: part['status'] for part in document['parts']}
    assert {letter: status[letter] for letter in '0df'} == dict.fromkeys('0df', 'ok')
    assert status['e'].startswith('error: RuntimeError: injected')
    assert code == 1
    assert 'PAR 32x32' in page


def run_one(function, folder, box=60.0):
    from _suite import Options, Part, run_part

    options = Options(torch.device('cpu'), True, folder, None, None, time.monotonic() + box)
    return run_part(Part('x', 'A part', function, box), options, box)


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='needs /proc')
def test_a_part_that_is_cut_off_keeps_what_it_has(tmp_path):
    def never_ends(options, report):
        report.fact('before', 1)
        if os.fork() == 0:  # killed with it
            Path(options.out, 'pid').write_text(str(os.getpid()))
        time.sleep(60)

    content = run_one(never_ends, tmp_path, box=1.0)
    assert content['status'] == 'out of time'
    assert content['facts'] == {'before': 1}
    wait_for(lambda: not is_running((tmp_path / 'pid').read_text()))


def test_a_crash_and_a_missed_limit_are_failures_and_a_missed_goal_is_none(tmp_path):
    crashed = run_one(lambda options, report: os.kill(os.getpid(), signal.SIGKILL), tmp_path)
    assert crashed['status'] == 'error: ended with exit code -9'
    for value, status in ((1.0, 'ok'), (3.0, 'failed: a figure'), (float('nan'), 'failed: a figure')):
        content = run_one(lambda options, report, value=value: report.check('a figure', value, 2.0), tmp_path)
        assert content['status'] == status
    content = run_one(lambda options, report: report.goal('fast', 2.0, 1.0), tmp_path)
    assert content['status'] == 'ok'
    assert content['tables']['goals'] == [dict(goal='fast', value=2.0, at_most=1.0, met=False)]


def test_the_plain_step_computes_what_the_step_computes():
    from _plain import PlainStep
    from train_step import Step

    step = Step(
        'configs/afa/afa_mit-tiny_shapes.py',
        torch.device('cpu'),
        batch=2,
        crop=64,
        settings={'model.decode_head.dropout_ratio': 0.0},
    )
    with torch.no_grad():
        losses = step.model(**step.batch, mode='loss')
        expected = sum(value for name, value in losses.items() if name.startswith('loss'))
        assert_close(PlainStep(step.model, step.optimizer, step.batch).loss(), expected, rtol=1e-4, atol=0)


def test_figures_replace_what_stands_between_their_marks():
    from cpu_figures import COMMANDS, PAGE, fill_in

    page = PAGE.read_text()
    names = [*COMMANDS, 'machine', 'parts', 'hours']
    filled = fill_in(page, {name: [f'| {name} |'] for name in names})
    assert [f'| {name} |' in filled for name in names] == [True] * len(names)
    assert fill_in(filled, {name: [f'| {name} |'] for name in names}) == filled
    with pytest.raises(KeyError, match='figures: nothing'):
        fill_in(page, {'nothing': []})
