import pytest
import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close

SETTINGS = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], size=(24, 32), pad_val=0, seg_pad_val=255)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_it_equals_that_of_mmseg(training, bgr_to_rgb):
    images = [torch.randint(256, (3, 20, 30), dtype=torch.uint8) for _ in range(2)]

    def batch():
        return dict(inputs=[*images], data_samples=[SegDataSample(metainfo=dict(ori_shape=(20, 30))) for _ in images])

    ours = MODELS.build(dict(type='NonBlockingSegDataPreProcessor', bgr_to_rgb=bgr_to_rgb, **SETTINGS))
    for _ in range(2):
        expected = SegDataPreProcessor(bgr_to_rgb=bgr_to_rgb, **SETTINGS)(batch(), training)
        assert_close(ours(batch(), training)['inputs'], expected['inputs'], rtol=0, atol=0)


def test_copies_are_not_waited_for(monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.Tensor, 'to', lambda self, *_, non_blocking=False, **__: asked.append(non_blocking) or self
    )
    MODELS.build(dict(type='NonBlockingSegDataPreProcessor', **SETTINGS)).cast_data([torch.zeros(3, 2, 2)])
    assert asked == [True]
