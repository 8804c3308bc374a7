"""Checkpoints that are torn, or would run code, are found by reading them; the one before is taken."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from afa_mmseg.engine import find_checkpoint
from afa_mmseg.engine.resume import find_damage, set_resume


class Anything:
    """Any class."""


def save(path):
    torch.save(dict(meta=dict(iter=1), state_dict=dict(weight=torch.rand(2000))), path)
    return path


DAMAGES = {
    'empty': lambda data: b'',
    'first byte only': lambda data: data[:1],
    'half': lambda data: data[: len(data) // 2],
    'without the last byte': lambda data: data[:-1],
    'a bit turned': lambda data: data[:4000] + bytes([data[4000] ^ 1]) + data[4001:],
    'a hole': lambda data: data[:2000] + bytes(4000) + data[6000:],
    'all zeros': lambda data: bytes(len(data)),
    'text': lambda data: b'404 not found',
}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES.keys())
def test_a_broken_checkpoint_is_found_out_and_the_one_before_it_used(tmp_path, damage):
    before, newest = save(tmp_path / 'iter_2.pth'), save(tmp_path / 'iter_4.pth')
    (tmp_path / 'last_checkpoint').write_text(str(newest))
    assert find_checkpoint(tmp_path) == str(newest)
    newest.write_bytes(damage(newest.read_bytes()))
    assert find_damage(newest)
    assert find_checkpoint(tmp_path) == str(before)


def test_a_flipped_bit_is_found_out_or_changes_nothing(tmp_path):
    path = tmp_path / 'iter_2.pth'
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
    """What a checkpoint holds, to be compared."""
    content = torch.load(path, weights_only=True)
    return {**content, 'state_dict': {name: value.tolist() for name, value in content['state_dict'].items()}}


def test_a_part_that_seems_encrypted_is_damage(tmp_path):
    before, newest = save(tmp_path / 'iter_2.pth'), save(tmp_path / 'iter_4.pth')
    data = bytearray(newest.read_bytes())
    data[data.index(b'PK\1\2') + 8] |= 1  # in the directory of the file
    newest.write_bytes(data)
    assert 'is encrypted' in find_damage(newest)
    assert find_checkpoint(tmp_path) == str(before)


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        find_damage(tmp_path / 'gone.pth')


def test_what_would_run_code_is_no_checkpoint(tmp_path):
    save(tmp_path / 'iter_2.pth')
    torch.save(dict(meta=Anything()), tmp_path / 'iter_4.pth')
    assert 'refused' in find_damage(tmp_path / 'iter_4.pth')
    assert Path(find_checkpoint(tmp_path)).name == 'iter_2.pth'


def test_all_broken_is_not_the_beginning(tmp_path):
    for name in ('iter_2.pth', 'iter_4.pth'):
        (tmp_path / name).write_bytes(b'PK')
    with pytest.raises(ValueError, match=r'(?s)no checkpoint in .* is whole:.*iter_4.pth: .*iter_2.pth: .*Delete them'):
        set_resume(Config(dict(work_dir=str(tmp_path))))
    cfg = Config(dict(work_dir=str(tmp_path), load_from=str(tmp_path / 'iter_2.pth')))
    with pytest.raises(ValueError, match='load_from=.*iter_2.pth is broken: '):
        set_resume(cfg, explicit=True)
