"""convert_vit.py as a user runs it; what it does with each kind of file is tested in tests/models/checkpoints."""

import runpy
import sys

import pytest
import torch

from tests.toco_network import DATA, tiny_state
from tests.tools.toolbox import REPO


@pytest.fixture
def run_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['convert_vit.py', *map(str, arguments)])
        runpy.run_path(str(REPO / 'tools/model_converters/convert_vit.py'))['main']()

    return run


def test_tocos_checkpoint_becomes_ours_and_tocos_again(tmp_path, run_here):
    run_here(DATA / 'toco_tiny.pth', 'ours.pth')
    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, ours[key]) for key, value in tiny_state().items())
    run_here('ours.pth', 'toco.pth', '--to', 'toco')
    back, theirs = (torch.load(file, weights_only=True) for file in (tmp_path / 'toco.pth', DATA / 'toco_tiny.pth'))
    assert all(torch.equal(value, theirs[key]) for key, value in back.items())
    with pytest.raises(FileExistsError, match=r'toco\.pth'):
        run_here('ours.pth', 'toco.pth', '--to', 'toco')


def test_deits_checkpoint_becomes_a_backbone(tmp_path, run_here):
    state = torch.load(DATA / 'toco_tiny.pth', weights_only=True)
    encoder = {key.removeprefix('encoder.'): value for key, value in state.items() if key.startswith('encoder.')}
    torch.save(dict(model=encoder), tmp_path / 'deit.pth')
    run_here('deit.pth', 'ours.pth')
    assert 'layers.3.ffn.layers.1.bias' in torch.load(tmp_path / 'ours.pth', weights_only=True)['state_dict']
