"""Every published value, literally, against the resolved configs and the objects that are built from them."""

import inspect
import math
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample

from afa_mmseg.datasets.preparation.coco import prepare_coco
from afa_mmseg.models.refiners import DenseCRF

CONFIGS = Path(__file__).parents[1] / 'configs/afa'
VOC, REG, COCO = 'afa_mit-b1_voc', 'afa_mit-b1_voc_reg', 'afa_mit-b1_coco'


class Differs:
    """A value that is not the same in all three configs."""

    def __init__(self, voc, reg, coco):
        self.of = {VOC: voc, REG: reg, COCO: coco}


PUBLISHED = {
    'model: classes': Differs(21, 21, 81),
    'model: pretrained': 'pretrained/mit_b1.pth',
    'model: in_channels': [64, 128, 320, 512],
    'model: channels': 256,
    'model: pooling': 'max',
    'model: strides': [4, 2, 2, 1],
    'model: spatial reduction': [8, 4, 2, 1],
    'model: heads': [1, 2, 5, 8],
    'model: attention maps of the affinity': 16,
    'model: drop path of each block': [0.0, 0.0143, 0.0286, 0.0429, 0.0571, 0.0714, 0.0857, 0.1],
    'model: dropout': ('Dropout2d', 0.1),
    'model: norm of the head': 'SyncBatchNorm',
    'model: eps of backbone norms': {('embed', 1e-5): 4, ('reduction', 1e-5): 6, ('other', 1e-6): 20},
    'model: bias of projections, fusion, classifier, affinity': ([True] * 4, False, False, True),
    'model: align_corners': False,
    'data: mean': [123.675, 116.28, 103.53],
    'data: std': [58.395, 57.12, 57.375],
    'data: BGR of 10, 20, 30 before normalisation': [30.0, 20.0, 10.0],
    'data: crop of a batch': (512, 512),
    'data: padding of a batch': (0, 255),
    'data: training pipeline': ['LoadImage', 'RandomScale', 'RandomFlip', 'RandomCropWithBox', 'PackImageLevelInputs'],
    'data: scale': (0.5, 2.0),
    'data: scaled by': ('pillow', 'bilinear'),
    'data: mirror': (0.5, 'horizontal'),
    'data: crop': (512, 512),
    'data: padding': 0,
    'data: training list': Differs(
        'ImageSets/Segmentation/train_aug.txt', 'ImageSets/Segmentation/train_aug.txt', 'ImageSets/train2014.txt'
    ),
    'data: lists leave out images without annotation': 'drop',
    'data: EXIF orientation': (False, 'color_ignore_orientation'),
    'data: batch of a GPU': 2,
    'data: batch of all GPUs': Differs(4, 4, 8),
    'data: shuffled': ('SequenceSampler', True),
    'loss: classification': 1.0,
    'loss: affinity': (0.1, 2),
    'loss: segmentation': (0.1, 2),
    'loss: energy': Differs(None, (0.01, dict(sigma_rgb=15.0, sigma_xy=100.0, scale_factor=0.5)), None),
    'labels: scales of CAMs': (1.0, 0.5, 1.5),
    'labels: background scores': (0.35, 0.55),
    'labels: radius': 8,
    'labels: ignored': 255,
    'labels: PAR': Differs(10, 10, 15),
    'labels: PAR, dilations': (1, 2, 4, 8, 12, 24),
    'labels: PAR, bandwidth and weight of positions': (0.3, 0.01),
    'phases': Differs((2000, 6000, False), (2000, 6000, False), (5000, 15000, True)),
    'schedule: optimiser': ('AdamW', 6e-5, (0.9, 0.999), 1e-8, 0.01),
    # 116 in the reference: there each of 8 blocks has the projection of queries apart from that of keys and values.
    'schedule: rate and decay of tensors': {(6e-5, 0.01): 116 - 2 * 8, (0.0, 0.0): 60, (6e-4, 0.01): 16},
    'schedule: frozen tensors': {'norm': 60},
    'schedule: iterations': Differs(20000, 20000, 80000),
    'schedule: rate': Differs(*(('WarmupPolyLR', total, 1500, 1e-6, 1.0) for total in (20000, 20000, 80000))),
    'schedule: an iteration is an update': ('UpdateTrainLoop', 1),
    'validation: interval': Differs(2000, 2000, 5000),
    'validation: checkpoints': Differs(2000, 2000, 5000),
    'validation: best': 'mIoU',
    'validation: list': Differs(
        'ImageSets/Segmentation/val.txt', 'ImageSets/Segmentation/val.txt', 'ImageSets/val2014.txt'
    ),
    'validation: pipeline': ['LoadImageFromFile', 'LoadMask', 'PackImageLevelInputs'],
    'validation: batch, shuffled': (1, False),
    'validation: figures': [
        ('PaletteIoUMetric', None, None, None),
        ('CAMIoUMetric', 'pred_cam', 0.45, 'cam'),
        ('CAMIoUMetric', 'pred_propagated_cam', None, 'propagated_cam'),
        ('ImageF1Metric', None, None, 'cls'),
    ],
    'validation: score from which a class is predicted': 0.5,
    'test: scales': ('MaxScaleTTAModel', [1.0, 0.5, 0.75], 512),
    'test: figure': ('PaletteIoUMetric', ['mIoU']),
    'test: CRF': (10, 3.0, 3.0, 64.0, 5.0, 4.0),
}


def flat(value):
    return value.flatten().tolist()


def measure_model(model):
    backbone, head, preprocessor = model.backbone, model.decode_head, model.data_preprocessor
    blocks = [block for stage in backbone.layers for block in stage[1]]
    eps = Counter()
    for name, module in backbone.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            embed = name.endswith('.0.norm')
            kind = 'embed' if embed else 'reduction' if name.endswith('attn.norm') else 'other'
            eps[kind, module.eps] += 1
    energy = head.loss_energy
    return {
        'model: classes': head.num_classes,
        'model: in_channels': list(head.in_channels),
        'model: channels': head.channels,
        'model: pooling': head.pool,
        'model: strides': [stage[0].projection.stride[0] for stage in backbone.layers],
        'model: spatial reduction': [stage[1][0].attn.sr_ratio for stage in backbone.layers],
        'model: heads': [stage[1][0].attn.num_heads for stage in backbone.layers],
        'model: attention maps of the affinity': head.affinity_proj.in_channels,
        'model: drop path of each block': [round(block.attn.dropout_layer.drop_prob, 4) for block in blocks],
        'model: dropout': (type(head.dropout).__name__, getattr(head.dropout, 'p', None)),
        'model: norm of the head': type(head.fusion_conv.norm).__name__,
        'model: eps of backbone norms': dict(eps),
        'model: bias of projections, fusion, classifier, affinity': (
            [projection.bias is not None for projection in head.projections],
            *(part.bias is not None for part in (head.fusion_conv.conv, head.classifier, head.affinity_proj)),
        ),
        'model: align_corners': head.align_corners,
        'data: mean': [round(x, 3) for x in flat(preprocessor.mean)],
        'data: std': [round(x, 3) for x in flat(preprocessor.std)],
        'data: BGR of 10, 20, 30 before normalisation': normalised_bgr(preprocessor),
        'data: crop of a batch': preprocessor.size,
        'data: padding of a batch': (preprocessor.pad_val, preprocessor.seg_pad_val),
        'loss: classification': head.loss_cls.loss_weight,
        'loss: affinity': (head.loss_affinity.loss_weight, head.loss_affinity.group_size),
        'loss: segmentation': (head.loss_decode.loss_weight, head.loss_decode.group_size),
        'loss: energy': energy and (energy.loss_weight, energy.settings),
        'phases': tuple(model.phases),
        **measure_labels(model.pseudo_labeler),
    }


def normalised_bgr(preprocessor):
    """The values of the three channels that are normalised, for BGR of 10, 20, 30."""
    bgr = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1)
    normalised = preprocessor(dict(inputs=[bgr]))['inputs'][0]
    return [round(x, 3) for x in flat(normalised * preprocessor.std + preprocessor.mean)]


def measure_labels(labeler):
    par = labeler.refiner
    return {
        'labels: scales of CAMs': labeler.cam_scales,
        'labels: background scores': tuple(labeler.bkg_scores),
        'labels: radius': labeler.radius,
        'labels: ignored': labeler.ignore_index,
        'labels: PAR': type(par).__name__ == 'PAR' and par.num_iters,
        'labels: PAR, dilations': par.dilations,
        'labels: PAR, bandwidth and weight of positions': (par.bandwidth, par.pos_weight),
    }


def measure_data(config):
    train, val = config.train_dataloader, config.val_dataloader
    steps = {step.type: TRANSFORMS.build(step) for step in train.dataset.pipeline}
    scale, flip, crop = (steps.get(name) for name in ('RandomScale', 'RandomFlip', 'RandomCropWithBox'))
    return {
        'data: training pipeline': [step.type for step in train.dataset.pipeline],
        'data: scale': scale.ratio_range,
        'data: scaled by': (scale.backend, scale.interpolation),
        'data: mirror': (flip.prob, flip.direction),
        'data: crop': crop.crop_size,
        'data: padding': crop.pad_val,
        'data: training list': train.dataset.ann_file,
        'data: lists leave out images without annotation': inspect.signature(prepare_coco)
        .parameters['unannotated']
        .default,
        'data: EXIF orientation': (
            _dataset(train).exif_orientation or _dataset(val).exif_orientation,
            val.dataset.pipeline[0].color_type,
        ),
        'data: batch of a GPU': train.batch_size,
        'data: batch of all GPUs': config.auto_scale_lr.base_batch_size,
        'data: shuffled': (train.sampler.type, train.sampler.shuffle),
        'validation: list': val.dataset.ann_file,
        'validation: pipeline': [step.type for step in val.dataset.pipeline],
        'validation: batch, shuffled': (val.batch_size, val.sampler.shuffle),
    }


def _dataset(loader):
    return DATASETS.get(loader.dataset.type)


def measure_schedule(config, model):
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    optimizer, (scheduler,) = wrapper.optimizer, config.param_scheduler
    names = {parameter: name for name, parameter in model.named_parameters()}
    rates, frozen = Counter(), Counter()
    for group in optimizer.param_groups:
        for parameter in group['params']:
            rates[round(group['lr'], 10), group['weight_decay']] += 1
            if group['lr'] == 0:
                name = names[parameter]
                is_norm = 'norm' in name or any(f'backbone.layers.{stage}.2.' in name for stage in range(4))
                frozen['norm' if is_norm else name] += 1
    settings = optimizer.defaults
    return {
        'schedule: optimiser': (
            type(optimizer).__name__,
            *(settings[name] for name in ('lr', 'betas', 'eps', 'weight_decay')),
        ),
        'schedule: rate and decay of tensors': dict(rates),
        'schedule: frozen tensors': dict(frozen),
        'schedule: iterations': config.train_cfg.max_iters,
        'schedule: rate': tuple(
            scheduler[name] for name in ('type', 'max_iters', 'warmup_iters', 'warmup_ratio', 'power')
        ),
        'schedule: an iteration is an update': (
            config.train_cfg.type,
            config.optim_wrapper.get('accumulative_counts', 1),
        ),
    }


def measure_evaluation(config):
    evaluators, hook, crf = config.val_evaluator, config.default_hooks.checkpoint, DenseCRF()
    fields = ('type', 'field', 'bkg_score', 'prefix')
    order = ('gaussian_sxy', 'gaussian_weight', 'bilateral_sxy', 'bilateral_srgb', 'bilateral_weight')
    tta = config.tta_model
    return {
        'model: pretrained': config.model.backbone.init_cfg.checkpoint,
        'validation: interval': config.train_cfg.val_interval,
        'validation: checkpoints': hook.interval,
        'validation: best': hook.get('save_best'),
        'validation: figures': [tuple(metric.get(field) for field in fields) for metric in evaluators],
        'validation: score from which a class is predicted': evaluators[-1].get('thr'),
        'test: scales': (tta.type, list(tta.scales), tta.long_side),
        'test: figure': (config.test_evaluator.type, config.test_evaluator.iou_metrics),
        'test: CRF': (crf.num_iters, *(crf.settings[name] for name in order)),
    }


@cache
def measured(name):
    """All values of a config, by the keys of `PUBLISHED`."""
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIGS / f'{name}.py')
    values = {**measure_data(config), **measure_evaluation(config)}
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    return {**values, **measure_model(model), **measure_schedule(config, model)}


@pytest.mark.parametrize('key', PUBLISHED)
@pytest.mark.parametrize('name', [VOC, REG, COCO])
def test_published_value(name, key):
    expected = PUBLISHED[key]
    assert measured(name)[key] == (expected.of[name] if isinstance(expected, Differs) else expected)


def test_everything_that_is_measured_is_compared():
    assert measured(VOC).keys() == PUBLISHED.keys()


# How training and validation behave, on a network of the same kind with fewer and narrower layers


@pytest.fixture
def small():
    """The segmentor of the VOC config, small, in training mode, in plain batch norm."""
    torch.manual_seed(0)
    config = Config.fromfile(CONFIGS / f'{VOC}.py')
    config.model.backbone.update(init_cfg=None, arch=dict(embed_dims=8, num_layers=(1, 1, 1, 2)))
    config.model.decode_head.in_channels = [8, 16, 40, 64]
    model = revert_sync_batchnorm(MODELS.build(config.model))
    model.init_weights()
    return model.train()


def loss_at(model, iteration):
    MessageHub.get_current_instance().update_info('iter', iteration)
    samples = []
    for label in ([1], [2, 3]):
        sample = SegDataSample(metainfo=dict(img_box=(0, 64, 0, 64), ori_shape=(64, 64), img_shape=(64, 64)))
        sample.gt_label = torch.zeros(20)
        sample.gt_label[label] = 1
        samples.append(sample)
    return model.loss(torch.randn(2, 3, 64, 64), samples)


@pytest.mark.parametrize('iteration', [2001, 6001])
def test_cam_passes_run_in_training_mode(small, monkeypatch, iteration):
    modes, original = [], small.backbone.forward_with_attention

    def recorded(x):
        modes.append({module.training for module in small.backbone.modules()})
        return original(x)

    monkeypatch.setattr(small.backbone, 'forward_with_attention', recorded)
    loss_at(small, iteration)
    assert len(modes) == 4  # training pass, its mirror, two more scales with theirs
    assert modes == [{True}] * 4


@pytest.mark.parametrize('iteration', [0, 2000])
def test_the_warm_up_moves_batch_norm_and_leaves_the_heads_a_zero_gradient(small, iteration):
    norm, head = small.decode_head.fusion_conv.norm, small.decode_head
    total, _ = small.parse_losses(loss_at(small, iteration))
    total.backward()
    assert norm.num_batches_tracked == 1
    assert norm.running_mean.abs().max() > 0
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None] == []
    assert [name for name, grad in gradients.items() if grad.any()] == ['classifier.weight']


def test_phases_begin_after_their_last_iteration(small):
    assert loss_at(small, 2000)['loss_seg'] == 0
    assert loss_at(small, 2001)['loss_seg'] > 0


def test_heads_start_as_pytorch_initialises_them(small):
    head = small.decode_head
    for layer in (*head.projections, head.conv_seg, head.classifier):
        bound = 1 / math.sqrt(layer.in_channels)
        for values in (layer.weight, layer.bias):
            if values is not None:
                assert values.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    # kaiming normal of one output channel with a = sqrt(5)
    assert 0.3 < head.affinity_proj.weight.std() < 0.9
    assert 0 < head.affinity_proj.bias.abs() <= 1 / math.sqrt(16)


def test_propagated_cams_are_validated_with_a_background_score_of_0_35(small, monkeypatch):
    scores, original = [], small.pseudo_labeler.propagate

    def recorded(*args):
        scores.append([*args[-1]])
        return original(*args)

    monkeypatch.setattr(small.pseudo_labeler, 'propagate', recorded)
    sample = SegDataSample(metainfo=dict(ori_shape=(64, 64), img_shape=(64, 64)))
    with torch.no_grad(), small.eval().predicting_cams():
        small.predict(torch.randn(1, 3, 64, 64), [sample])
    assert scores == [[0.35]]


@pytest.mark.parametrize('name', [VOC, COCO])
def test_testing_scales_by_the_factor(name, small):
    tta = MODELS.build({**Config.fromfile(CONFIGS / f'{name}.py').tta_model, 'module': small.eval()})
    tta.long_side, inputs = None, []
    small.forward = lambda x: inputs.append(x) or torch.zeros(2, 21, 8, 8)
    column = torch.arange(99.0).expand(1, 3, 66, 99)  # a pixel's value is its column
    with torch.no_grad():
        tta.merged_logits(column)
    for scaled, scale in zip(inputs, (1, 0.75, 0.5)):
        places = (torch.arange(int(99 * scale)) + 0.5) / scale - 0.5
        torch.testing.assert_close(scaled[0, 0, 0], places.clamp(0, 98), rtol=0, atol=1e-4)
