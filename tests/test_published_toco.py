"""Every published value of ToCo, literally, against the resolved configs and the objects that are built from them."""

import math
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, TRANSFORMS

from afa_mmseg.models.refiners import DenseCRF

CONFIGS = Path(__file__).parents[1] / 'configs/toco'
NAMES = ('toco_deit-b_voc', 'toco_vit-b_voc', 'toco_deit-b_coco', 'toco_vit-b_coco')


class Data:
    """A value that VOC and COCO differ in."""

    def __init__(self, voc, coco):
        self.voc, self.coco = voc, coco

    def of(self, name):
        return self.coco if name.endswith('coco') else self.voc


class Weights:
    """A value that DeiT and ViT differ in."""

    def __init__(self, deit, vit):
        self.deit, self.vit = deit, vit

    def of(self, name):
        return self.deit if 'deit' in name else self.vit


def view(mirror=True, blur=1.0):
    """Changes of an image that views share."""
    return [
        *([('mirror', 0.5, 'horizontal')] if mirror else []),
        ('jitter', 0.8, (0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1)),
        ('grey', 0.2, (0.114, 0.587, 0.299)),
        ('blur', blur, (0.1, 2.0), 'inf'),
    ]


PUBLISHED = {
    'model: classes': Data(21, 81),
    'model: pretrained': Weights('pretrained/deit_b.pth', 'pretrained/vit_b.pth'),
    'model: blocks, width, heads, MLP, patch': (12, 768, 12, 3072, 16),
    'model: blocks whose tokens are read': [9, 11],
    'model: eps of norms': {1e-6: 25},
    'model: position embedding': ((1, 197, 768), 'bicubic', False),
    'model: dropout and drop path': {0.0},
    'model: LargeFOV': [(768, 512, 3, 5, 5), (512, 512, 3, 5, 5), (512, Data(21, 81), 1, 1, 0)],
    'model: bias of LargeFOV and classifiers': [False] * 5,
    'model: projection head': [(768, 2048), (2048, 2048), (2048, 256), (256, 1024)],
    'model: standard deviation of the projection head': 0.02,
    'model: teacher is a copy without gradient': True,
    'model: teacher keeps': 0.9,
    'data: mean and std': ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    'data: batch': (448, 448),
    'data: view 1': [('scale', (0.5, 2.0)), ('mirror', 0.5, 'horizontal'), ('crop', (448, 448), 0), *view()],
    'data: view 2': [('part', (448, 448), (0.4, 1.0), 'bicubic'), *view(blur=0.1), ('solarise', 0.2, 128)],
    'data: view 3, of the crop': view(blur=0.5),
    'data: lists': Data(
        ('ImageSets/Segmentation/train_aug.txt', 'ImageSets/Segmentation/val.txt'),
        ('ImageSets/train2014.txt', 'ImageSets/val2014.txt'),
    ),
    'data: batch of a GPU, of all GPUs': Data((2, 4), (2, 8)),
    'labels: scales of CAMs': (1.0, 0.5, 1.5),
    'labels: low and high': Data((0.25, 0.7), (0.25, 0.65)),
    'labels: PAR': 10,
    'crops: number, side': (8, 96),
    'crops: box in pixels as cells': True,
    'loss: classifiers': (1.0, 1.0),
    'loss: patch tokens': (0.2, 2),
    'loss: class tokens': Data((0.5, 0.5), (0.5, 1.0)),
    'loss: segmentation': (0.1, 2),
    'loss: energy': (0.05, dict(sigma_rgb=15.0, sigma_xy=100.0, scale_factor=0.5)),
    'phases: segmentation, contrast, auxiliary labels': Data((2000, -1, -1), (8000, 12000, 12000)),
    'schedule: optimiser': ('AdamW', 6e-5, (0.9, 0.999), 1e-8, 0.01),
    # 102 + 50 and 10 + 3 in the reference: there the backbone has a frozen embedding and a classifier of two tensors
    # beside them, and the last layer of the projection head a magnitude.
    'schedule: rate and decay of trained tensors': {(6e-5, 0.01): 102 - 3 + 50, (6e-4, 0.01): 10 - 1 + 3},
    'schedule: clipping': None,
    'schedule: rate': Data(('WarmupPolyLR', 20000, 1500, 1e-6, 0.9), ('WarmupPolyLR', 80000, 1500, 1e-6, 0.9)),
    'schedule: iterations': Data(20000, 80000),
    'validation: size': (448, 448),
    'validation: figures': Data(
        *(
            [
                ('PaletteIoUMetric', None, None, None),
                ('CAMIoUMetric', 'pred_cam', score, 'cam'),
                ('CAMIoUMetric', 'pred_aux_cam', score, 'aux_cam'),
                ('ImageF1Metric', None, None, 'cls'),
            ]
            for score in (0.5, 0.45)
        )
    ),
    'test: scales': Data(('ToCoTTAModel', [1.0, 1.5, 1.25], None), ('ToCoTTAModel', [1.0, 1.25, 1.5], (448, 448))),
    'test: merges of mirror images and of scales': Data(('sum', 'max'), ('max', 'sum')),
    'test: CRF of toco_deit-b_voc_crf': (10, 1.0, 1.0, 121.0, 5.0, 4.0),
}


def resolve(expected, name):
    """Return the value that a config shall have."""
    if isinstance(expected, (Data, Weights)):
        return expected.of(name)
    if isinstance(expected, (list, tuple)):
        return type(expected)(resolve(value, name) for value in expected)
    return expected


def measure_backbone(backbone):
    first = backbone.layers[0]
    patch, hidden = backbone.patch_embed.projection, first.ffn.layers[0][0].out_features
    drops = [m for m in backbone.modules() if 'drop' in type(m).__name__.lower()]
    return {
        'model: blocks, width, heads, MLP, patch': (
            len(backbone.layers),
            backbone.pos_embed.shape[-1],
            first.attn.attn.num_heads,
            hidden,
            *{*patch.kernel_size, *patch.stride},
        ),
        'model: blocks whose tokens are read': list(backbone.out_indices),
        'model: eps of norms': dict(Counter(m.eps for m in backbone.modules() if isinstance(m, torch.nn.LayerNorm))),
        'model: position embedding': (
            tuple(backbone.pos_embed.shape),
            backbone.interpolate_mode,
            backbone.pos_embed.requires_grad,
        ),
        'model: dropout and drop path': {getattr(m, 'p', getattr(m, 'drop_prob', 0.0)) for m in drops} | {0.0},
    }


def measure_head(head):
    projector, teacher = head.projector, head.averaged_projector
    linear = [layer for layer in projector.modules() if isinstance(layer, torch.nn.Linear)]
    layers = (head.conv6, head.conv7, head.conv_seg)
    energy, pairs = head.loss_energy, list(zip(projector.parameters(), teacher.parameters()))
    return {
        'model: classes': head.num_classes,
        'model: LargeFOV': [
            (x.in_channels, x.out_channels, x.kernel_size[0], x.dilation[0], x.padding[0]) for x in layers
        ],
        'model: bias of LargeFOV and classifiers': [
            layer.bias is not None for layer in (*layers, head.classifier, head.aux_classifier)
        ],
        'model: projection head': [(layer.in_features, layer.out_features) for layer in linear],
        'model: standard deviation of the projection head': round(linear[1].weight.std().item(), 3),
        'model: teacher is a copy without gradient': all(torch.equal(a, b) and not b.requires_grad for a, b in pairs),
        'model: teacher keeps': head.momentum,
        'loss: classifiers': (head.loss_cls.loss_weight, head.loss_aux.loss_weight),
        'loss: patch tokens': (head.loss_ptc.loss_weight, head.loss_ptc.group_size),
        'loss: class tokens': (head.loss_ctc.loss_weight, head.loss_ctc.temperature),
        'loss: segmentation': (head.loss_decode.loss_weight, head.loss_decode.group_size),
        'loss: energy': (energy.loss_weight, energy.settings),
    }


def measure_method(model):
    settings, labeler, preprocessor = model.settings, model.pseudo_labeler, model.data_preprocessor
    return {
        'data: mean and std': tuple(
            [round(x, 3) for x in values.flatten().tolist()] for values in (preprocessor.mean, preprocessor.std)
        ),
        'data: batch': preprocessor.size,
        'labels: scales of CAMs': labeler.cam_scales,
        'labels: low and high': tuple(labeler.bkg_scores),
        'labels: PAR': type(labeler.refiner).__name__ == 'PAR' and labeler.refiner.num_iters,
        'crops: number, side': (settings.num_crops, settings.local_size),
        'crops: box in pixels as cells': not settings.scale_boxes,
        'phases: segmentation, contrast, auxiliary labels': (
            settings.no_seg_until,
            settings.no_contrast_until,
            settings.aux_label_until,
        ),
        'validation: size': tuple(model.test_size),
    }


#: What makes up a step of a pipeline, by its type.
STEPS = {
    'RandomScale': ('scale', 'ratio_range'),
    'RandomFlip': ('mirror', 'prob', 'direction'),
    'RandomCropWithBox': ('crop', 'crop_size', 'pad_val'),
    'RandomResizedCrop': ('part', 'scale', 'crop_ratio_range', 'interpolation'),
    'RandomGrayscale': ('grey', 'prob', 'channel_weights'),
    'GaussianBlur': ('blur', 'prob', 'magnitude_range', 'magnitude_std'),
    'Solarize': ('solarise', 'prob', 'thr'),
}


def describe(steps):
    """Name the steps of a built pipeline and what they are set to."""
    described = []
    for step in steps:
        kind = type(step).__name__
        if kind == 'RandomApply':
            (jitter,) = step.transforms.transforms
            described.append(('jitter', step.prob, jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue))
        elif kind in STEPS:
            name, *fields = STEPS[kind]
            described.append((name, *(getattr(step, field) for field in fields)))
    return described


def measure_config(config):
    train, tta = config.train_dataloader, config.tta_model
    steps = [TRANSFORMS.build(step) for step in train.dataset.pipeline]
    views = {step.key: step for step in steps if type(step).__name__ == 'AddView'}
    assert [type(step).__name__ for step in steps].index('AddView') == 1  # view 2 is of the whole image
    fields, scheduler = ('type', 'field', 'bkg_score', 'prefix'), config.param_scheduler[0]
    return {
        'model: pretrained': config.model.backbone.init_cfg.checkpoint,
        'data: view 1': describe(steps),
        'data: view 2': describe(views['view2'].transforms.transforms),
        'data: view 3, of the crop': describe(views['view3'].transforms.transforms),
        'data: lists': (train.dataset.ann_file, config.val_dataloader.dataset.ann_file),
        'data: batch of a GPU, of all GPUs': (train.batch_size, config.auto_scale_lr.base_batch_size),
        'schedule: clipping': config.optim_wrapper.get('clip_grad'),
        'schedule: rate': tuple(
            scheduler[name] for name in ('type', 'max_iters', 'warmup_iters', 'warmup_ratio', 'power')
        ),
        'schedule: iterations': config.train_cfg.max_iters,
        'validation: figures': [tuple(metric.get(field) for field in fields) for metric in config.val_evaluator],
        'test: scales': (tta.type, list(tta.scales), tta.get('size')),
        'test: merges of mirror images and of scales': (tta.mirror, tta.over_scales),
        'test: CRF of toco_deit-b_voc_crf': measure_crf(),
    }


def measure_crf():
    crf = DenseCRF(**Config.fromfile(CONFIGS / 'toco_deit-b_voc_crf.py').model.test_cfg.crf)
    order = ('gaussian_sxy', 'gaussian_weight', 'bilateral_sxy', 'bilateral_srgb', 'bilateral_weight')
    return (crf.num_iters, *(crf.settings[name] for name in order))


def measure_schedule(config, model):
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    rates = Counter(
        (round(group['lr'], 10), group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
        if parameter.requires_grad
    )
    settings = [optimizer.defaults[name] for name in ('lr', 'betas', 'eps', 'weight_decay')]
    return {
        'schedule: optimiser': (type(optimizer).__name__, *settings),
        'schedule: rate and decay of trained tensors': dict(rates),
    }


@cache
def measured(name):
    """All values of a config, by the keys of `PUBLISHED`."""
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIGS / f'{name}.py')
    values = measure_config(config)
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    values |= {**measure_backbone(model.backbone), **measure_head(model.decode_head), **measure_method(model)}
    return {**values, **measure_schedule(config, model)}


@pytest.mark.parametrize('key', PUBLISHED)
@pytest.mark.parametrize('name', NAMES)
def test_published_value(name, key):
    assert measured(name)[key] == resolve(PUBLISHED[key], name)


def test_everything_that_is_measured_is_compared():
    assert measured(NAMES[0]).keys() == PUBLISHED.keys()


def test_classifiers_and_largefov_start_as_pytorch_initialises_them():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = Config.fromfile(CONFIGS / 'toco_deit-b_voc.py').model.decode_head
    head = MODELS.build(config)
    head.init_weights()
    for layer in (head.classifier, head.aux_classifier, head.conv6, head.conv_seg, head.projector.last_layer):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
