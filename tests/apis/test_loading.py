"""Check of devices."""

import pytest
import torch

from afa_mmseg.apis.loading import check_device


@pytest.fixture(params=[0, 2])
def num_gpus(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: request.param)
    return request.param


def test_what_pytorch_has_passes(num_gpus):
    for device in ('cpu', 'cuda', 'cuda:1')[: 1 + num_gpus]:
        check_device(device)


@pytest.mark.parametrize('device', ['cuda:2', 'cuda:x', 'gpu', 'GPU:0', 'meta', ''])
def test_others_are_refused_with_what_there_is(num_gpus, device):
    with pytest.raises(ValueError) as error:
        check_device(device)
    ending = 'only cuda:0, cuda:1 here; use cpu or cuda:0 or cuda:1' if num_gpus else 'no GPU here; use cpu'
    assert str(error.value) == f'device {device!r} (--device): PyTorch finds {ending}'
