"""Checkpoints are read without running code; damaged files are found; mmengine loads as strictly on request."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from afa_mmseg.utils.checkpoints import find_damage, read_checkpoint, read_state
from tests.models.checkpoints.states import assert_same

STATE = {'layers.weight': torch.arange(6.0).reshape(2, 3)}


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Reached:
    """Gets a function through what mmengine's logs are pickled with."""

    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'a.pth'


@pytest.mark.parametrize('zipped', [True, False])
def test_a_file_that_runs_code_is_refused_and_does_not(path, zipped):
    content = dict(state_dict=STATE, meta=Attack(f'touch {path.parent}/run'))
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r'a\.pth is refused: it holds \w+\.system'):
        read_checkpoint(path)
    assert not (path.parent / 'run').exists()
    torch.save(dict(state_dict=STATE, meta=Reached()), path)
    with pytest.raises(ValueError, match=r'a\.pth is refused: it holds getattr'):
        read_checkpoint(path)


def test_mmengines_own_checkpoints_are_read(path):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    logs = dict(loss=buffer, best=np.float32(3), step=np.int64(4), rates=np.ones(3), method=HistoryBuffer.mean)
    torch.save(dict(state_dict=STATE, message_hub=logs), path)
    read = read_checkpoint(path)['message_hub']
    assert read['loss'].data[0].tolist() == [1.0, 2.0]
    assert read['loss'].mean(2) == 1.5
    assert (read['best'], read['step'], read['rates'].tolist()) == (3, 4, [1.0] * 3)
    assert_same(read_state(path), STATE)


def test_mmengine_and_torch_refuse_as_strictly_on_request(path):
    torch.save(dict(state_dict=STATE, meta=Attack(f'touch {path.parent}/run')), path)
    code = f"""
import pickle, torch
from mmengine.runner import load_checkpoint
from afa_mmseg.utils.checkpoints import use_strict_loading
use_strict_loading()
for load in (lambda p: load_checkpoint(torch.nn.Linear(1, 1), p), lambda p: torch.load(p, weights_only=False)):
    try:
        load({str(path)!r})
    except (ValueError, pickle.UnpicklingError) as error:
        print('refused', type(error).__name__)
"""
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert [line for line in process.stdout.splitlines() if 'refused' in line] == [
        'refused ValueError',
        'refused UnpicklingError',
    ], process.stderr
    assert not (path.parent / 'run').exists()


def test_state_dicts_are_found_bare_and_wrapped(path):
    torch.save(STATE, path)
    assert_same(read_state(path), STATE)
    torch.save(dict(state_dict=STATE, meta={}), path)
    assert_same(read_state(path), STATE)
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert_same(read_state(path), STATE)


@pytest.mark.parametrize('content', [[1, 2], dict(state_dict=3), dict(epoch=3, net=STATE)])
def test_files_without_a_state_dict_are_refused(path, content):
    torch.save(content, path)
    with pytest.raises(ValueError, match='a.pth: no state dict'):
        read_state(path)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        pickle.dumps({'a': 1}, 2),
        b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n',
        b'\n<!DOCTYPE html><html>',
    ],
)
def test_files_that_are_no_checkpoints_are_named(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.pth is '):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match='no.pth'):
        read_checkpoint(path.with_name('no.pth'))


@pytest.mark.parametrize('name', ['a.pth', 'model.safetensors'])
def test_a_download_that_broke_off_is_refused(tmp_path, name):
    path = tmp_path / name
    save_file(STATE, path) if name.endswith('.safetensors') else torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf'{name} is no .*or incomplete'):
        read_checkpoint(path)


def test_folders_of_the_hub_hold_one_of_two_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'model\.safetensors or pytorch_model\.bin'):
        read_checkpoint(tmp_path)
    torch.save({'old': torch.ones(1)}, tmp_path / 'pytorch_model.bin')
    assert set(read_state(tmp_path)) == {'old'}
    save_file(STATE, tmp_path / 'model.safetensors')
    assert_same(read_state(tmp_path), STATE)


def test_a_missing_safetensors_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / 'model.safetensors').write_bytes(b'any')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(ModuleNotFoundError, match=r'safetensors .*\[hub\]'):
        read_checkpoint(tmp_path)


# Damage

DAMAGES = {
    'empty': lambda data: b'',
    'without the last byte': lambda data: data[:-1],
    'a flipped bit': lambda data: data[:4000] + bytes([data[4000] ^ 1]) + data[4001:],
    'a hole': lambda data: data[:2000] + bytes(4000) + data[6000:],
    'all zeros': lambda data: bytes(len(data)),
}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found(path, damage):
    torch.save(dict(meta=dict(iter=1), state_dict=dict(weight=torch.rand(2000))), path)
    assert find_damage(path) is None
    path.write_bytes(damage(path.read_bytes()))
    assert find_damage(path)


def test_a_flipped_bit_is_found_or_changes_nothing(path):
    torch.save(dict(meta=dict(iter=2), state_dict=dict(weight=torch.rand(9))), path)
    data, whole = path.read_bytes(), plain(path)
    wrong = []
    for place, byte in enumerate(data):
        for bit in (1, 128):
            path.write_bytes(data[:place] + bytes([byte ^ bit]) + data[place + 1 :])
            if find_damage(path) is None and plain(path) != whole:
                wrong.append((place, bit))
    assert wrong == []


def plain(path):
    """Return what a checkpoint holds, to be compared."""
    content = torch.load(path, weights_only=True)
    return {**content, 'state_dict': {name: value.tolist() for name, value in content['state_dict'].items()}}


def test_a_file_that_cannot_be_opened_is_not_called_damaged(path):
    with pytest.raises(FileNotFoundError, match=r'a\.pth'):
        find_damage(path)
