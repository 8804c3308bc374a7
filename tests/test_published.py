"""Every published value, literally, against the resolved configs and the objects that are built from them."""

import inspect
import math
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample

from afa_mmseg.datasets.preparation.coco import prepare_coco
from afa_mmseg.models.refiners import DenseCRF
from tests.reference_network import at_iteration, make_sample

CONFIGS = Path(__file__).parents[1] / 'configs'
VOC, REG, COCO = 'afa_mit-b1_voc', 'afa_mit-b1_voc_reg', 'afa_mit-b1_coco'
SIZE = dict(ori_shape=(64, 64), img_shape=(64, 64))


class Differs:
    """A value that is not the same in all three configs."""

    def __init__(self, voc, reg, coco):
        self.of = {VOC: voc, REG: reg, COCO: coco}


class Built:
    """A config, and what is built from it."""

    def __init__(self, path):
        init_default_scope('mmseg')
        self.config = Config.fromfile(path)
        self.pretrained = self.config.model.backbone.init_cfg.checkpoint
        self.config.model.backbone.init_cfg = None
        self.model = MODELS.build(self.config.model)
        self.backbone, self.head, self.labeler = self.model.backbone, self.model.decode_head, self.model.pseudo_labeler
        self.preprocessor, self.par = self.model.data_preprocessor, self.labeler.refiner
        self.optimizer = build_optim_wrapper(self.model, self.config.optim_wrapper).optimizer
        self.train, self.val, self.tta = self.config.train_dataloader, self.config.val_dataloader, self.config.tta_model
        self.steps = {step.type: TRANSFORMS.build(step) for step in self.train.dataset.pipeline}

    def optimizer_settings(self):
        names = ('lr', 'betas', 'eps', 'weight_decay')
        return (type(self.optimizer).__name__, *(self.optimizer.defaults[name] for name in names))

    def rate(self):
        (scheduler,) = self.config.param_scheduler
        return tuple(scheduler[name] for name in ('type', 'max_iters', 'warmup_iters', 'warmup_ratio', 'power'))

    def rates_and_decays(self):
        """Count the trained tensors of each learning rate and weight decay."""
        groups = self.optimizer.param_groups
        tensors = ((group, p) for group in groups for p in group['params'] if p.requires_grad)
        return Counter((round(group['lr'], 10), group['weight_decay']) for group, _ in tensors)

    def figures(self):
        fields = ('type', 'field', 'bkg_score', 'prefix')
        return [tuple(metric.get(field) for field in fields) for metric in self.config.val_evaluator]


def crf_settings(crf):
    order = ('gaussian_sxy', 'gaussian_weight', 'bilateral_sxy', 'bilateral_srgb', 'bilateral_weight')
    return (crf.num_iters, *(crf.settings[name] for name in order))


def flat(value):
    return [round(x, 3) for x in value.flatten().tolist()]


def eps_of_norms(backbone):
    eps = Counter()
    for name, module in backbone.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            embed = name.endswith('.0.norm')
            kind = 'embed' if embed else 'reduction' if name.endswith('attn.norm') else 'other'
            eps[kind, module.eps] += 1
    return eps


def biases(head):
    parts = (head.fusion_conv.conv, head.classifier, head.affinity_proj)
    return [x.bias is not None for x in head.projections], *(part.bias is not None for part in parts)


def normalised_bgr(preprocessor):
    """The values of the three channels that are normalised, for BGR of 10, 20, 30."""
    bgr = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1)
    normalised = preprocessor(dict(inputs=[bgr]))['inputs'][0]
    return flat(normalised * preprocessor.std + preprocessor.mean)


def exif_orientation(x):
    used = (DATASETS.get(loader.dataset.type).exif_orientation for loader in (x.train, x.val))
    return any(used), x.val.dataset.pipeline[0].color_type


def frozen_tensors(x):
    """Count the tensors whose learning rate is 0: norms, and others by their names."""
    names = {parameter: name for name, parameter in x.model.named_parameters()}
    groups = (group for group in x.optimizer.param_groups if group['lr'] == 0)
    frozen = [names[parameter] for group in groups for parameter in group['params']]
    return Counter('norm' if 'norm' in name or name.split('.')[3] == '2' else name for name in frozen)


#: The value, and where it is found.
PUBLISHED = {
    'model: classes': (Differs(21, 21, 81), lambda x: x.head.num_classes),
    'model: pretrained': ('pretrained/mit_b1.pth', lambda x: x.pretrained),
    'model: in_channels': ([64, 128, 320, 512], lambda x: list(x.head.in_channels)),
    'model: channels': (256, lambda x: x.head.channels),
    'model: pooling': ('max', lambda x: x.head.pool),
    'model: strides': ([4, 2, 2, 1], lambda x: [stage[0].projection.stride[0] for stage in x.backbone.layers]),
    'model: spatial reduction': ([8, 4, 2, 1], lambda x: [stage[1][0].attn.sr_ratio for stage in x.backbone.layers]),
    'model: heads': ([1, 2, 5, 8], lambda x: [stage[1][0].attn.num_heads for stage in x.backbone.layers]),
    'model: attention maps of the affinity': (16, lambda x: x.head.affinity_proj.in_channels),
    'model: drop path of each block': (
        [0.0, 0.0143, 0.0286, 0.0429, 0.0571, 0.0714, 0.0857, 0.1],
        lambda x: [round(block.attn.dropout_layer.drop_prob, 4) for stage in x.backbone.layers for block in stage[1]],
    ),
    'model: dropout': (('Dropout2d', 0.1), lambda x: (type(x.head.dropout).__name__, x.head.dropout.p)),
    'model: norm of the head': ('SyncBatchNorm', lambda x: type(x.head.fusion_conv.norm).__name__),
    'model: eps of backbone norms': (
        {('embed', 1e-5): 4, ('reduction', 1e-5): 6, ('other', 1e-6): 20},
        lambda x: eps_of_norms(x.backbone),
    ),
    'model: bias of projections, fusion, classifier, affinity': (
        ([True] * 4, False, False, True),
        lambda x: biases(x.head),
    ),
    'model: align_corners': (False, lambda x: x.head.align_corners),
    'data: mean': ([123.675, 116.28, 103.53], lambda x: flat(x.preprocessor.mean)),
    'data: std': ([58.395, 57.12, 57.375], lambda x: flat(x.preprocessor.std)),
    'data: BGR of 10, 20, 30 before normalisation': ([30.0, 20.0, 10.0], lambda x: normalised_bgr(x.preprocessor)),
    'data: crop of a batch': ((512, 512), lambda x: x.preprocessor.size),
    'data: padding of a batch': ((0, 255), lambda x: (x.preprocessor.pad_val, x.preprocessor.seg_pad_val)),
    'data: training pipeline': (
        ['LoadImage', 'RandomScale', 'RandomFlip', 'RandomCropWithBox', 'PackImageLevelInputs'],
        lambda x: [*x.steps],
    ),
    'data: scale': ((0.5, 2.0), lambda x: x.steps['RandomScale'].ratio_range),
    'data: scaled by': (
        ('pillow', 'bilinear'),
        lambda x: (x.steps['RandomScale'].backend, x.steps['RandomScale'].interpolation),
    ),
    'data: mirror': ((0.5, 'horizontal'), lambda x: (x.steps['RandomFlip'].prob, x.steps['RandomFlip'].direction)),
    'data: crop': ((512, 512), lambda x: x.steps['RandomCropWithBox'].crop_size),
    'data: padding': (0, lambda x: x.steps['RandomCropWithBox'].pad_val),
    'data: training list': (
        Differs(*['ImageSets/Segmentation/train_aug.txt'] * 2, 'ImageSets/train2014.txt'),
        lambda x: x.train.dataset.ann_file,
    ),
    'data: lists leave out images without annotation': (
        'drop',
        lambda x: inspect.signature(prepare_coco).parameters['unannotated'].default,
    ),
    'data: EXIF orientation': ((False, 'color_ignore_orientation'), exif_orientation),
    'data: batch of a GPU': (2, lambda x: x.train.batch_size),
    'data: batch of all GPUs': (Differs(4, 4, 8), lambda x: x.config.auto_scale_lr.base_batch_size),
    'data: shuffled': (('SequenceSampler', True), lambda x: (x.train.sampler.type, x.train.sampler.shuffle)),
    'loss: classification': (1.0, lambda x: x.head.loss_cls.loss_weight),
    'loss: affinity': ((0.1, 2), lambda x: (x.head.loss_affinity.loss_weight, x.head.loss_affinity.group_size)),
    'loss: segmentation': ((0.1, 2), lambda x: (x.head.loss_decode.loss_weight, x.head.loss_decode.group_size)),
    'loss: energy': (
        Differs(None, (0.01, dict(sigma_rgb=15.0, sigma_xy=100.0, scale_factor=0.5)), None),
        lambda x: x.head.loss_energy and (x.head.loss_energy.loss_weight, x.head.loss_energy.settings),
    ),
    'labels: scales of CAMs': ((1.0, 0.5, 1.5), lambda x: x.labeler.cam_scales),
    'labels: background scores': ((0.35, 0.55), lambda x: tuple(x.labeler.bkg_scores)),
    'labels: radius': (8, lambda x: x.labeler.radius),
    'labels: ignored': (255, lambda x: x.labeler.ignore_index),
    'labels: PAR': (Differs(('PAR', 10), ('PAR', 10), ('PAR', 15)), lambda x: (type(x.par).__name__, x.par.num_iters)),
    'labels: PAR, dilations': ((1, 2, 4, 8, 12, 24), lambda x: x.par.dilations),
    'labels: PAR, bandwidth and weight of positions': ((0.3, 0.01), lambda x: (x.par.bandwidth, x.par.pos_weight)),
    'phases': (
        Differs((2000, 6000, False), (2000, 6000, False), (5000, 15000, True)),
        lambda x: tuple(x.model.phases),
    ),
    'schedule: optimiser': (('AdamW', 6e-5, (0.9, 0.999), 1e-8, 0.01), Built.optimizer_settings),
    # 116 in the reference: there each of 8 blocks has the projection of queries apart from that of keys and values.
    'schedule: rate and decay of tensors': (
        {(6e-5, 0.01): 116 - 2 * 8, (0.0, 0.0): 60, (6e-4, 0.01): 16},
        Built.rates_and_decays,
    ),
    'schedule: frozen tensors': ({'norm': 60}, frozen_tensors),
    'schedule: iterations': (Differs(20000, 20000, 80000), lambda x: x.config.train_cfg.max_iters),
    'schedule: rate': (
        Differs(*(('WarmupPolyLR', total, 1500, 1e-6, 1.0) for total in (20000, 20000, 80000))),
        Built.rate,
    ),
    'schedule: an iteration is an update': (
        ('UpdateTrainLoop', 1),
        lambda x: (x.config.train_cfg.type, x.config.optim_wrapper.get('accumulative_counts', 1)),
    ),
    'validation: interval': (Differs(2000, 2000, 5000), lambda x: x.config.train_cfg.val_interval),
    'validation: checkpoints': (Differs(2000, 2000, 5000), lambda x: x.config.default_hooks.checkpoint.interval),
    'validation: best': ('mIoU', lambda x: x.config.default_hooks.checkpoint.get('save_best')),
    'validation: list': (
        Differs(*['ImageSets/Segmentation/val.txt'] * 2, 'ImageSets/val2014.txt'),
        lambda x: x.val.dataset.ann_file,
    ),
    'validation: pipeline': (
        ['LoadImageFromFile', 'LoadMask', 'PackImageLevelInputs'],
        lambda x: [step.type for step in x.val.dataset.pipeline],
    ),
    'validation: batch, shuffled': ((1, False), lambda x: (x.val.batch_size, x.val.sampler.shuffle)),
    'validation: figures': (
        [
            ('PaletteIoUMetric', None, None, None),
            ('CAMIoUMetric', 'pred_cam', 0.45, 'cam'),
            ('CAMIoUMetric', 'pred_propagated_cam', None, 'propagated_cam'),
            ('ImageF1Metric', None, None, 'cls'),
        ],
        Built.figures,
    ),
    'validation: score from which a class is predicted': (0.5, lambda x: x.config.val_evaluator[-1].get('thr')),
    'test: scales': (
        ('MaxScaleTTAModel', [1.0, 0.5, 0.75], 512),
        lambda x: (x.tta.type, list(x.tta.scales), x.tta.long_side),
    ),
    'test: figure': (
        ('PaletteIoUMetric', ['mIoU']),
        lambda x: (x.config.test_evaluator.type, x.config.test_evaluator.iou_metrics),
    ),
    'test: CRF': ((10, 3.0, 3.0, 64.0, 5.0, 4.0), lambda x: crf_settings(DenseCRF())),
}


@cache
def measured(name):
    built = Built(CONFIGS / f'afa/{name}.py')
    return {key: find(built) for key, (_, find) in PUBLISHED.items()}


@pytest.mark.parametrize('key', PUBLISHED)
@pytest.mark.parametrize('name', [VOC, REG, COCO])
def test_published_value(name, key):
    expected, _ = PUBLISHED[key]
    assert measured(name)[key] == (expected.of[name] if isinstance(expected, Differs) else expected)


# How training and validation behave, on a network of the same kind with fewer and narrower layers


@pytest.fixture
def small():
    """The segmentor of the VOC config, small, in training mode, in plain batch norm."""
    config = Config.fromfile(CONFIGS / f'afa/{VOC}.py')
    config.model.backbone.update(init_cfg=None, arch=dict(embed_dims=8, num_layers=(1, 1, 1, 2)))
    config.model.decode_head.in_channels = [8, 16, 40, 64]
    model = revert_sync_batchnorm(MODELS.build(config.model))
    model.init_weights()
    return model.train()


def loss_at(model, iteration):
    at_iteration(iteration)
    samples = [make_sample(classes, img_box=(0, 64, 0, 64), **SIZE) for classes in ([1], [2, 3])]
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
    assert [name for name, parameter in small.named_parameters() if parameter.grad is None] == []
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
    sample = SegDataSample(metainfo=SIZE)
    with torch.no_grad(), small.eval().predicting_cams():
        small.predict(torch.randn(1, 3, 64, 64), [sample])
    assert scores == [[0.35]]


@pytest.mark.parametrize('name', [VOC, COCO])
def test_testing_scales_by_the_factor(name, small):
    tta = MODELS.build({**Config.fromfile(CONFIGS / f'afa/{name}.py').tta_model, 'module': small.eval()})
    tta.long_side, inputs = None, []
    small.forward = lambda x: inputs.append(x) or torch.zeros(2, 21, 8, 8)
    column = torch.arange(99.0).expand(1, 3, 66, 99)  # a pixel's value is its column
    with torch.no_grad():
        tta.merged_logits(column)
    for scaled, scale in zip(inputs, (1, 0.75, 0.5)):
        places = (torch.arange(int(99 * scale)) + 0.5) / scale - 0.5
        torch.testing.assert_close(scaled[0, 0, 0], places.clamp(0, 98), rtol=0, atol=1e-4)
