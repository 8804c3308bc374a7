import hashlib

import numpy as np
import pytest
import torch

from afa_mmseg.models.checkpoints import publish
from tests.models.checkpoints.states import assert_same

STATE = {'weight': torch.arange(6.0).reshape(2, 3), 'steps': torch.tensor(3)}
META = dict(cfg='model = dict()', dataset_meta=dict(classes=('a', 'b'), palette=[[0, 0, 0], [1, 2, 3]]), iter=6)


def trained(path, state=STATE, meta=META, **others):
    torch.save(dict(state_dict=state, meta=meta, **others), path)
    return path


def test_weights_and_meta_are_kept_and_nothing_else(tmp_path):
    meta = dict(META, experiment_name='afa_2026', hook_msgs=dict(a=1))
    source = trained(tmp_path / 'iter_6.pth', meta=meta, optimizer=dict(state={}), message_hub=dict(lr=np.float64(1)))
    published = publish(source, tmp_path / 'out')
    content = torch.load(published.path, weights_only=True)
    assert_same(content['state_dict'], STATE)
    assert {key: content['meta'][key] for key in META} == META
    assert 'hook_msgs' not in content['meta']
    assert published.left_out == ['optimizer', 'message_hub', 'meta.hook_msgs']
    assert not published.is_averaged
    assert published.bytes_after == published.path.stat().st_size
    assert published.bytes_before == source.stat().st_size


def test_the_name_ends_in_the_digest_of_the_file(tmp_path):
    source = trained(tmp_path / 'iter_6.pth')
    for out, stem in ((tmp_path / 'out', 'iter_6'), (tmp_path / 'out/afa_b1.pth', 'afa_b1')):
        path = publish(source, out).path
        assert path.parent == tmp_path / 'out'
        assert path.name == f'{stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth'


def test_the_experiment_names_the_file_but_not_its_folder(tmp_path):
    source = trained(tmp_path / 'iter_6.pth', meta=dict(META, experiment_name='../my run/x'))
    path = publish(source, tmp_path / 'out').path
    assert path.parent == tmp_path / 'out'
    assert path.name.startswith('.._my_run_x-')


def test_the_same_again_is_the_same_file(tmp_path):
    source = trained(tmp_path / 'iter_6.pth')
    first, second = publish(source, tmp_path / 'a.pth'), publish(source, tmp_path / 'a.pth')
    assert (first.is_new, second.is_new, first.path) == (True, False, second.path)
    again = publish(first.path, tmp_path / 'b.pth')
    assert again.path.read_bytes() == first.path.read_bytes()
    assert again.left_out == []


def test_the_average_of_training_is_published_and_found_again(tmp_path):
    raw = {f'module.{key}': value + 1 for key, value in STATE.items()}
    first = publish(trained(tmp_path / 'iter_6.pth', ema_state_dict=raw), tmp_path / 'a.pth')
    assert first.is_averaged
    assert_same(torch.load(first.path, weights_only=True)['state_dict'], STATE)
    assert publish(first.path, tmp_path / 'b.pth').is_averaged


def test_a_view_does_not_bring_what_it_is_a_part_of(tmp_path):
    source = trained(tmp_path / 'iter_6.pth', state={'weight': torch.zeros(1_000_000)[:3]})
    published = publish(source, tmp_path / 'a.pth')
    assert published.bytes_before > 4_000_000
    assert published.bytes_after < 10_000


@pytest.mark.parametrize('meta', [{}, dict(cfg='a = 1'), None])
def test_what_no_training_wrote_is_refused(tmp_path, meta):
    source = trained(tmp_path / 'a.pth', meta=meta)
    with pytest.raises(ValueError, match=r'(?s)a\.pth: not a checkpoint of a training run: .*tools/train\.py'):
        publish(source, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_meta_of_more_than_plain_values_is_refused(tmp_path):
    meta = dict(META, dataset_meta=dict(classes=('a',), palette=np.zeros((1, 3))))
    with pytest.raises(ValueError, match=r"a\.pth: 'meta\.dataset_meta' holds more than plain values"):
        publish(trained(tmp_path / 'a.pth', meta=meta), tmp_path / 'out')
