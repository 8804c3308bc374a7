"""convert_mit.py as a user runs it; what it does with each kind of file is tested in tests/models/checkpoints."""

import runpy
import sys

import pytest
import torch

from tests.models.checkpoints.states import WETR, afa_state, assert_same, nvlabs_state
from tests.tools.toolbox import REPO, run_tool

SCRIPT = 'model_converters/convert_mit.py'


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """Run the script in this process, which saves the imports; return its output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['convert_mit.py', *map(str, arguments)])
        runpy.run_path(str(REPO / 'tools' / SCRIPT))['main']()
        return capsys.readouterr().out

    return run


def test_afas_checkpoint_becomes_ours_and_afas_again(tmp_path, run_here):
    output = run_tool(SCRIPT, WETR, 'out/afa.pth', cwd=tmp_path).stdout
    assert "AFA's segmentor" in output
    assert 'written: out/afa.pth (179 tensors, ' in output
    assert 'written: out/wetr.pth (' in run_here('out/afa.pth', 'out/wetr.pth', '--to', 'afa')
    assert_same(torch.load(tmp_path / 'out/wetr.pth', weights_only=True), afa_state())


def test_a_backbone_comes_with_its_line_of_config(tmp_path, run_here):
    torch.save(nvlabs_state(), tmp_path / 'mit.pth')
    output = run_here('mit.pth', 'ours.pth')
    assert (
        'use it: model = dict(backbone=dict(arch=dict(embed_dims=8, num_layers=(2, 2, 2, 2)), '
        "init_cfg=dict(type='Pretrained', checkpoint='ours.pth')), decode_head=dict(in_channels=[8, 16, 40, 64]))"
    ) in output
    process = run_tool(SCRIPT, WETR, 'ours.pth', cwd=tmp_path, check=False)
    assert process.returncode == 1
    assert 'convert_mit.py: error: ours.pth exists' in process.stdout.splitlines()[-1]
    assert 'written: ours.pth' in run_here(WETR, 'ours.pth', '--force')
