"""Mixed precision: what is computed in half precision, and what stays in float32."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from afa_mmseg.engine import options
from afa_mmseg.functional import multi_scale_cam
from afa_mmseg.models.segmentors import base

ADAM = dict(type='AdamW', lr=1e-3)
LABELS = ([1], [2, 3])
#: In the second and third phase.
PHASES = (3, 7)


@pytest.fixture
def segmentor(tiny_segmentor):
    return tiny_segmentor.train()


@pytest.fixture
def batch():
    torch.manual_seed(0)
    samples = [SegDataSample(metainfo=dict(img_box=(0, 64, 0, 60))) for _ in LABELS]
    for sample, labels in zip(samples, LABELS):
        sample.gt_label = torch.zeros(20)
        sample.gt_label[labels] = 1
    return dict(inputs=torch.randn(2, 3, 64, 64), data_samples=samples)


def cpu_amp(segmentor):
    """Build what `--amp` makes of a config on the CPU."""
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=ADAM)))
    options.enable_amp(cfg)
    return build_optim_wrapper(segmentor, cfg.optim_wrapper)


def losses_at(segmentor, batch, iteration, context):
    MessageHub.get_current_instance().update_info('iter', iteration)
    with context:
        return segmentor.loss(**batch)


def tensors_in(*values):
    """Yield the tensors in values and in the tuples among them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(*value)


def noted(seen, name, function):
    """Wrap a function so that the types of its floating point tensors, arguments and results, are recorded."""

    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        tensors = tensors_in(args, tuple(kwargs.values()), result)
        seen.setdefault(name, set()).update(x.dtype for x in tensors if x.is_floating_point())
        return result

    return call


def note_types(monkeypatch, seen, owner, method):
    monkeypatch.setattr(owner, method, noted(seen, method, getattr(owner, method)))


# The step


@pytest.mark.parametrize('iteration', PHASES)
def test_pseudo_labels_are_made_in_float32(segmentor, batch, monkeypatch, iteration):
    seen, network = {}, {}
    labeler = segmentor.pseudo_labeler
    methods = ('label_and_cam_label', 'propagate') if iteration == 7 else ('cam_label',)
    for owner, method in [
        *((labeler, method) for method in methods),
        (labeler.refiner, 'forward'),
        (segmentor, 'to_rgb'),
        (segmentor, 'extract_cam'),
    ]:
        note_types(monkeypatch, seen, owner, method)
    note_types(monkeypatch, network, segmentor.decode_head, 'affinity_factors')
    original = base.multi_scale_cam
    monkeypatch.setattr(
        base, 'multi_scale_cam', lambda extract, *args: original(noted(seen, 'extract', extract), *args)
    )
    losses_at(segmentor, batch, iteration, cpu_amp(segmentor).optim_context(segmentor))
    names = {*methods, 'forward', 'to_rgb', 'extract_cam', 'extract'}
    assert seen == {name: {torch.float32} for name in names}
    assert torch.bfloat16 in network['affinity_factors']  # so there was something to keep out


def test_cams_from_the_same_logits_are_the_same_cams(segmentor):
    def extract(x, num_affinities):
        return F.avg_pool2d(x, 16), torch.ones(num_affinities, 1, 1)

    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 64)
    plain, _ = multi_scale_cam(extract, image, (1.0, 0.5, 1.5))
    with cpu_amp(segmentor).optim_context(segmentor):
        mixed, _ = multi_scale_cam(extract, image, (1.0, 0.5, 1.5))
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)


@pytest.mark.parametrize('iteration', [0, *PHASES])
def test_losses_are_float32_and_near_those_of_float32(segmentor, batch, iteration):
    plain = losses_at(segmentor, batch, iteration, nullcontext())
    mixed = losses_at(segmentor, batch, iteration, cpu_amp(segmentor).optim_context(segmentor))
    for name in ('loss_cls', 'loss_affinity', 'loss_seg'):
        assert mixed[name].dtype == torch.float32
        assert_close(mixed[name], plain[name], rtol=0.02, atol=1e-3)
    assert mixed['loss_cls'] != plain['loss_cls']


@pytest.mark.parametrize(
    ('loss', 'shape', 'target'),
    [
        ('MultiLabelSoftMarginLoss', (2, 20), torch.arange(40).view(2, 20) % 2),
        ('AffinityLoss', (2, 16, 16), torch.arange(512).view(2, 16, 16) % 2),
        ('BalancedCrossEntropyLoss', (2, 21, 8, 8), torch.arange(128).view(2, 8, 8) % 21),
    ],
)
def test_losses_are_computed_in_float32(loss, shape, target):
    torch.manual_seed(0)
    output = torch.rand(shape).bfloat16()
    module = MODELS.build(dict(type=loss))
    value = module(output, target)
    assert value.dtype == torch.float32
    assert_close(value, module(output.float(), target), rtol=0, atol=0)


@pytest.mark.parametrize('iteration', [0, *PHASES])
def test_weights_and_gradients_are_float32_and_finite(segmentor, batch, iteration):
    wrapper = cpu_amp(segmentor)
    losses = losses_at(segmentor, batch, iteration, wrapper.optim_context(segmentor))
    segmentor.parse_losses(losses)[0].backward()
    for name, parameter in segmentor.named_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32, name
        assert parameter.grad.isfinite().all(), name
    before = segmentor.decode_head.classifier.weight.clone()
    wrapper.step()
    assert segmentor.decode_head.classifier.weight.dtype == torch.float32
    assert (segmentor.decode_head.classifier.weight - before).abs().max() > 0


# The command line


def apply_amp(monkeypatch, device, **wrapper):
    monkeypatch.setattr(options, 'get_device', lambda: device)
    cfg = Config(dict(optim_wrapper={'type': 'OptimWrapper', 'optimizer': ADAM, **wrapper}))
    options.enable_amp(cfg)
    cfg.optim_wrapper.pop('optimizer')
    return cfg.optim_wrapper.to_dict()


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, dict(dtype='float16', loss_scale='dynamic')),
        (dict(dtype='float16', loss_scale=512.0), dict(dtype='float16', loss_scale=512.0)),
        (dict(dtype='bfloat16'), dict(dtype='bfloat16', loss_scale=1.0)),
        (dict(accumulative_counts=2), dict(dtype='float16', loss_scale='dynamic', accumulative_counts=2)),
        (dict(type='AmpOptimWrapper', dtype='bfloat16'), dict(dtype='bfloat16')),
    ],
)
def test_gpus_compute_in_the_type_of_the_config(monkeypatch, given, expected):
    assert apply_amp(monkeypatch, 'cuda', **given) == dict(expected, type='AmpOptimWrapper')
    kept = {key: value for key, value in given.items() if key == 'accumulative_counts'}
    assert apply_amp(monkeypatch, 'cpu', **given) == dict(kept, type='CPUAmpOptimWrapper')  # computes in bfloat16


@pytest.mark.parametrize('given', [dict(dtype='bf16'), dict(type='ApexOptimWrapper')])
def test_another_type_is_refused(monkeypatch, given):
    with pytest.raises(ValueError, match=next(iter(given.values()))):
        apply_amp(monkeypatch, 'cuda', **given)


def test_amp_options_build_a_wrapper_that_computes_in_that_type(monkeypatch):
    # mmengine refuses to build it without an accelerator; torch's scaler then only warns and does nothing.
    monkeypatch.setattr('mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available', lambda: True)
    settings = apply_amp(monkeypatch, 'cuda', dtype='bfloat16')
    wrapper = build_optim_wrapper(torch.nn.Linear(2, 1), dict(settings, optimizer=ADAM))
    assert wrapper.cast_dtype == torch.bfloat16
    assert wrapper._scale_update_param == 1.0  # stays at 1
