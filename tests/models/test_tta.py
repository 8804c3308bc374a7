import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from afa_mmseg.models import MaxScaleTTAModel
from afa_mmseg.models.segmentors import ToCoTTAModel
from tests.toco_network import build_parts, normalize


def as_data(image):
    """Make the output of a data loader for an image (3, H, W) that the preprocessor leaves as it is."""
    size = tuple(image.shape[-2:])
    return dict(inputs=[image], data_samples=[SegDataSample(metainfo=dict(ori_shape=size, img_shape=size))])


@pytest.fixture
def segmentor(tiny_segmentor):
    preprocessor = dict(type='SegDataPreProcessor', mean=[0, 0, 0], std=[1, 1, 1])
    tiny_segmentor.data_preprocessor = MODELS.build(preprocessor)
    return tiny_segmentor


def test_logits_and_labels_equal_the_reference(golden, segmentor):
    data = golden('tiny/test_msc_flip')
    tta = MaxScaleTTAModel(segmentor, scales=[1, 0.5, 0.75], long_side=128)
    with torch.no_grad():
        assert_close(tta.merged_logits(data['x']), data['msc_segs'], rtol=0, atol=1e-5)
        (result,) = tta.test_step(as_data(data['x'][0]))
    assert torch.equal(result.pred_sem_seg.data, data['msc_pred'])


class Recorder(BaseModel):
    """Keeps its inputs and returns logits on a grid of 4 pixels."""

    def __init__(self):
        super().__init__()
        self.inputs = []

    def forward(self, x):
        self.inputs.append(x)
        return torch.nn.functional.avg_pool2d(x, 4)


def sampling_matrix(side, scale):
    """Weights (new side, side) of bilinear sampling at (i + 1/2) / scale - 1/2."""
    position = np.clip((np.arange(int(side * scale)) + 0.5) / scale - 0.5, 0, None)
    below = np.floor(position).astype(int)
    weights = np.zeros((len(position), side))
    np.add.at(weights, (np.arange(len(position)), below), 1 - (position - below))
    np.add.at(weights, (np.arange(len(position)), np.minimum(below + 1, side - 1)), position - below)
    return weights


@pytest.mark.parametrize('size', [(341, 500), (343, 512), (333, 479), (75, 101)])
@pytest.mark.parametrize('scale', [0.5, 0.75, 1.25, 1.5])
def test_images_are_sampled_by_the_factor_where_the_scaled_side_is_no_whole_number(size, scale):
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, *size))).float()
    recorder = Recorder()
    MaxScaleTTAModel(recorder, [scale], long_side=None).merged_logits(image)
    ((scaled, mirrored),) = recorder.inputs
    rows, columns = (sampling_matrix(side, scale) for side in size)
    expected = torch.from_numpy(rows @ image[0].double().numpy() @ columns.T).float()
    assert_close(scaled, expected, rtol=0, atol=1e-3)
    assert_close(mirrored, scaled.flip(-1), rtol=0, atol=0)
    by_size = torch.nn.functional.interpolate(image, size=scaled.shape[-2:], mode='bilinear')[0]
    assert (by_size - expected).abs().max() > 0.01


@pytest.mark.parametrize(
    ('size', 'long'), [((341, 500), (349, 512)), ((500, 333), (512, 340)), ((96, 128), (384, 512))]
)
def test_the_longer_side_is_512_at_scale_1(size, long):
    recorder = Recorder()
    MaxScaleTTAModel(recorder, [1.0, 0.5]).merged_logits(torch.rand(1, 3, *size))
    assert [tuple(x.shape[-2:]) for x in recorder.inputs] == [long, (long[0] // 2, long[1] // 2)]


def test_the_order_of_scales_does_not_matter(segmentor):
    image = torch.randn(1, 3, 64, 80)
    results = []
    for scales in ([0.5, 1.0, 1.5], [1.5, 0.5, 1.0]):
        with torch.no_grad():
            results.append(MaxScaleTTAModel(segmentor, scales, long_side=None).merged_logits(image))
    assert results[0].shape == (1, 21, 16, 20)
    assert torch.equal(*results)


def test_mirrored_images_give_mirrored_predictions(segmentor):
    image = torch.randn(1, 3, 64, 96)
    tta = MaxScaleTTAModel(segmentor, long_side=96)
    with torch.no_grad():
        assert_close(tta.merged_logits(image.flip(-1)).flip(-1), tta.merged_logits(image), rtol=0, atol=1e-5)


def test_padding_is_cut_off_as_without_tta(segmentor):
    segmentor.data_preprocessor = MODELS.build(
        dict(type='SegDataPreProcessor', mean=[0, 0, 0], std=[1, 1, 1], test_cfg=dict(size_divisor=64))
    )
    data = as_data(torch.randn(3, 64, 100))
    with torch.no_grad():
        (result,) = MaxScaleTTAModel(segmentor, [1.0], long_side=None).test_step(data)
    assert result.pred_sem_seg.shape == (64, 100)


def test_it_wraps_any_segmentor_of_mmseg_and_images_of_any_size():
    module = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[0, 0, 0], std=[1, 1, 1]),
        backbone=dict(type='AttnMixVisionTransformer', arch=dict(embed_dims=8, num_layers=(1, 1, 1, 2))),
        decode_head=dict(
            type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=5, norm_cfg=dict(type='BN')
        ),
        test_cfg=dict(mode='whole'),
    )
    tta = MODELS.build(dict(type='MaxScaleTTAModel', module=module, long_side=128)).eval()
    data = [as_data(torch.rand(3, *size) * 255) for size in ((40, 60), (70, 50))]
    merged = {key: [item for part in data for item in part[key]] for key in ('inputs', 'data_samples')}
    with torch.no_grad():
        results = tta.test_step(merged)
    assert [result.pred_sem_seg.shape for result in results] == [(40, 60), (70, 50)]


@pytest.mark.parametrize('settings', [dict(scales=[]), dict(scales=[1.0, 0.0]), dict(long_side=-5)])
def test_bad_settings_are_named(segmentor, settings):
    with pytest.raises(ValueError, match='tta_model: scales='):
        MaxScaleTTAModel(segmentor, **settings)


def test_the_crf_works_on_the_merged_prediction(segmentor, monkeypatch):
    seen = []
    monkeypatch.setattr(segmentor, 'post_process', lambda inputs, results: seen.append((inputs, results)))
    image = torch.rand(3, 64, 64)
    with torch.no_grad():
        results = MaxScaleTTAModel(segmentor, long_side=64).test_step(as_data(image))
    ((inputs, samples),) = seen
    assert_close(inputs, image[None])
    assert samples[0] is results[0]
    assert isinstance(samples[0].seg_logits, PixelData)


@pytest.mark.parametrize('name', ['voc', 'coco'])
@pytest.mark.parametrize('i', [0, 1])
def test_toco_settings_equal_the_reference(golden, name, i):
    data = golden('toco/validate')
    backbone, head = build_parts()
    image = normalize(data[f'image{i}_u8'])
    size = (int(data['crop_size']),) * 2
    settings = dict(
        voc=dict(scales=[1.0, 1.5, 1.25], mirror='sum', over_scales='max'),
        coco=dict(scales=[1.0, 1.25, 1.5], size=size, mirror='max', over_scales='sum'),
    )[name]
    network = torch.nn.Module()
    network.forward = network.test_step = lambda x: head(backbone(x))
    with torch.no_grad():
        logits = ToCoTTAModel(network, **settings).merged_logits(image)
    assert_close(logits[..., ::4, ::4], data[f'{name}_msc_stride4_{i}'], rtol=0, atol=2e-5)
    assert torch.equal(logits.argmax(1), data[f'{name}_pred{i}'].long().view(logits.argmax(1).shape))


@pytest.mark.parametrize('setting', [dict(mirror='min'), dict(over_scales='mean')])
def test_unknown_merges_are_refused(segmentor, setting):
    with pytest.raises(ValueError, match=next(iter(setting.values()))):
        ToCoTTAModel(segmentor, **setting)
