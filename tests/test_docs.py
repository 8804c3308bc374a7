"""Walkthroughs run as they are written: each ```bash block in turn, and what they print as ```text says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.toolbox import REPO, tool_environment

WALKTHROUGH = REPO / 'docs/custom_dataset.md'
BLOCK = re.compile(r'^```(\w[^\n]*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(path):
    """The fenced blocks of a document that say what they hold: (what, text)."""
    return [(match[1], match[2]) for match in BLOCK.finditer(path.read_text(encoding='utf-8'))]


@pytest.fixture
def checkout(tmp_path):
    """What a user has: a copy of the repository without data, work and environment."""
    for name in ('afa_mmseg', 'configs', 'tools'):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'data').mkdir()
    return tmp_path


def test_blocks_say_what_they_are():
    kinds = [kind for kind, _ in blocks(WALKTHROUGH)]
    assert kinds.count('bash') >= 7
    assert kinds.count('bash no-test') == 1  # the long run
    assert set(kinds) <= {'bash', 'text', 'bash no-test'}


@pytest.mark.slow
def test_the_walkthrough_of_your_own_pictures(checkout):
    # The copy before what is installed; `python` is this one.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    environment = tool_environment(PATH=path, PYTHONPATH=str(checkout), OMP_NUM_THREADS='1')
    output = ''
    for kind, text in blocks(WALKTHROUGH):
        if kind == 'bash':
            command = ['bash', '-euo', 'pipefail', '-c', text]
            run = subprocess.run(
                command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            output = run.stdout + run.stderr
            assert run.returncode == 0, f'{text}\n{output[-3000:]}'
        elif kind == 'text':
            assert [line for line in text.splitlines() if line not in output.splitlines()] == [], output[-3000:]

    report = (checkout / 'data/my_pictures/report/report.md').read_text(encoding='utf-8')
    assert '| disc | 1 | ' in report
    work_dir = checkout / 'work_dirs/my_pictures_trial'
    val = (checkout / 'data/my_pictures/val.txt').read_text().split()
    for img_id in val:
        label = np.asarray(Image.open(work_dir / f'masks/{img_id}.png'))
        assert label.shape == (128, 128)
        assert label.max() < 7
    assert len(list((work_dir / 'shown').rglob('*.png'))) == len(val) == 10
