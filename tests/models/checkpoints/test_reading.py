import os
import pickle
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from afa_mmseg.models.checkpoints import read_checkpoint, read_state
from tests.models.checkpoints.states import assert_same

STATE = {'layers.weight': torch.arange(6.0).reshape(2, 3)}


def write(path, content):
    torch.save(content, path)
    return path


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_file_that_runs_code_is_refused_and_does_not(tmp_path, zipped):
    content = dict(state_dict=STATE, meta=Attack(f'touch {tmp_path}/run'))
    torch.save(content, tmp_path / 'evil.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r'evil\.pth is refused: .* it holds \w+\.system, .* run any code'):
        read_checkpoint(tmp_path / 'evil.pth')
    assert not (tmp_path / 'run').exists()


def test_objects_of_other_packages_are_named(tmp_path):
    path = write(tmp_path / 'a.pth', dict(STATE, config=pytest.Session))
    with pytest.raises(ValueError, match=r'refused: besides tensors it holds _pytest\.main\.Session'):
        read_checkpoint(path)


def test_what_mmengine_saves_besides_is_nothing_but_a_placeholder(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    logs = dict(loss=buffer, best=np.float32(3), rates=np.ones(3), method=buffer.mean)
    path = write(tmp_path / 'a.pth', dict(state_dict=STATE, message_hub=logs))
    logs = read_checkpoint(path)['message_hub']
    assert {type(value).__bases__[0].__name__ for value in logs.values()} == {'Ignored'}
    assert_same(read_state(path), STATE)


def test_state_dicts_are_found_bare_and_wrapped(tmp_path):
    assert_same(read_state(write(tmp_path / 'bare.pth', STATE)), STATE)
    assert_same(read_state(write(tmp_path / 'wrapped.pth', dict(state_dict=STATE, meta={}))), STATE)
    torch.save(STATE, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert_same(read_state(tmp_path / 'old.pth'), STATE)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([1, 2], 'a.pth: no state dict: the file holds a list'),
        (dict(state_dict=3), 'a.pth: no state dict: the file holds a int'),
        (dict(epoch=3, net=STATE), r"a\.pth: no state dict: these are no tensors: 'epoch', 'net'"),
    ],
)
def test_files_without_a_state_dict_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_state(write(tmp_path / 'a.pth', content))


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'is no checkpoint that PyTorch can read, or incomplete'),
        (b'\x00\x01\x02' * 999, 'is no checkpoint that PyTorch can read'),
        (pickle.dumps({'a': 1}, 2), 'is no checkpoint that PyTorch can read'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', r'pointer of Git LFS.*`git lfs pull`'),
        (b'\n<!DOCTYPE html><html>', 'is a web page, not a checkpoint: download the file'),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(tmp_path, data, message):
    path = tmp_path / 'a.pth'
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf'a\.pth {message}' if message.startswith('is') else message):
        read_checkpoint(path)


@pytest.mark.parametrize('name', ['a.pth', 'model.safetensors'])
def test_a_download_that_broke_off_is_refused(tmp_path, name):
    from safetensors.torch import save_file

    path = tmp_path / name
    save_file(STATE, path) if name.endswith('.safetensors') else torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf'{name} is no .*or incomplete'):
        read_checkpoint(path)


def test_folders_of_the_hub_hold_one_of_two_files(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(
        FileNotFoundError, match=r"folder without model\.safetensors or pytorch_model\.bin: it holds 'config\.json'"
    ):
        read_checkpoint(tmp_path)
    write(tmp_path / 'pytorch_model.bin', {'old': torch.ones(1)})
    assert set(read_state(tmp_path)) == {'old'}
    save_file(STATE, tmp_path / 'model.safetensors')
    assert_same(read_state(tmp_path), STATE)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'checkpoint not found: .*no\.pth'):
        read_checkpoint(tmp_path / 'no.pth')


def test_a_missing_safetensors_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / 'model.safetensors').write_bytes(b'any')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(ModuleNotFoundError, match=r'needs the package safetensors: pip install -e "\.\[converters\]"'):
        read_checkpoint(tmp_path)
