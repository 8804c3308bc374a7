"""Every published value of ToCo, literally, against the resolved configs and the objects that are built from them."""

import math
from collections import Counter
from functools import cache

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS, TRANSFORMS

from afa_mmseg.models.refiners import DenseCRF
from tests.test_published import CONFIGS, Built, crf_settings, flat

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


def resolve(expected, name):
    """Return the value that a config shall have."""
    if isinstance(expected, (Data, Weights)):
        return expected.of(name)
    if isinstance(expected, (list, tuple)):
        return type(expected)(resolve(value, name) for value in expected)
    return expected


def view(mirror=True, blur=1.0):
    """Changes of an image that views share."""
    return [
        *([('mirror', 0.5, 'horizontal')] if mirror else []),
        ('jitter', 0.8, (0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1)),
        ('greyscale', 0.2, (0.114, 0.587, 0.299)),
        ('blur', blur, (0.1, 2.0), 'inf'),
    ]


#: What makes up a step of a pipeline, by its type.
STEPS = {
    'RandomScale': ('scale', 'ratio_range'),
    'RandomFlip': ('mirror', 'prob', 'direction'),
    'RandomCropWithBox': ('crop', 'crop_size', 'pad_val'),
    'RandomResizedCrop': ('part', 'scale', 'crop_ratio_range', 'interpolation'),
    'RandomGrayscale': ('greyscale', 'prob', 'channel_weights'),
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


class BuiltToCo(Built):
    """A config of ToCo, and what is built from it."""

    def __init__(self, path):
        super().__init__(path)
        steps = [TRANSFORMS.build(step) for step in self.train.dataset.pipeline]
        assert [type(step).__name__ for step in steps].index('AddView') == 1  # view 2 is of the whole image
        views = {step.key: step.transforms.transforms for step in steps if type(step).__name__ == 'AddView'}
        self.views = {name: describe(steps) for name, steps in dict(view1=steps, **views).items()}
        self.settings, self.projector = self.model.settings, self.head.projector
        self.fov = (self.head.conv6, self.head.conv7, self.head.conv_seg)

    def block(self):
        first, patch = self.backbone.layers[0], self.backbone.patch_embed.projection
        sizes = first.attn.attn.num_heads, first.ffn.layers[0][0].out_features, *{*patch.kernel_size, *patch.stride}
        return len(self.backbone.layers), self.backbone.pos_embed.shape[-1], *sizes

    def eps(self):
        return Counter(m.eps for m in self.backbone.modules() if isinstance(m, torch.nn.LayerNorm))

    def drops(self):
        drops = [m for m in self.backbone.modules() if 'drop' in type(m).__name__.lower()]
        return {getattr(m, 'p', getattr(m, 'drop_prob', 0.0)) for m in drops} | {0.0}

    def linear(self):
        return [layer for layer in self.projector.modules() if isinstance(layer, torch.nn.Linear)]

    def teacher_is_a_copy(self):
        pairs = zip(self.projector.parameters(), self.head.averaged_projector.parameters())
        return all(torch.equal(a, b) and not b.requires_grad for a, b in pairs)


def measured_crf(x):
    return crf_settings(DenseCRF(**Config.fromfile(CONFIGS / 'toco/toco_deit-b_voc_crf.py').model.test_cfg.crf))


#: The value, and where it is found.
PUBLISHED = {
    'model: classes': (Data(21, 81), lambda x: x.head.num_classes),
    'model: pretrained': (Weights('pretrained/deit_b.pth', 'pretrained/vit_b.pth'), lambda x: x.pretrained),
    'model: blocks, width, heads, MLP, patch': ((12, 768, 12, 3072, 16), BuiltToCo.block),
    'model: blocks whose tokens are read': ([9, 11], lambda x: list(x.backbone.out_indices)),
    'model: eps of norms': ({1e-6: 25}, BuiltToCo.eps),
    'model: position embedding': (
        ((1, 197, 768), 'bicubic', False),
        lambda x: (
            tuple(x.backbone.pos_embed.shape),
            x.backbone.interpolate_mode,
            x.backbone.pos_embed.requires_grad,
        ),
    ),
    'model: dropout and drop path': ({0.0}, BuiltToCo.drops),
    'model: LargeFOV': (
        [(768, 512, 3, 5, 5), (512, 512, 3, 5, 5), (512, Data(21, 81), 1, 1, 0)],
        lambda x: [(c.in_channels, c.out_channels, c.kernel_size[0], c.dilation[0], c.padding[0]) for c in x.fov],
    ),
    'model: bias of LargeFOV and classifiers': (
        [False] * 5,
        lambda x: [c.bias is not None for c in (*x.fov, x.head.classifier, x.head.aux_classifier)],
    ),
    'model: projection head': (
        [(768, 2048), (2048, 2048), (2048, 256), (256, 1024)],
        lambda x: [(layer.in_features, layer.out_features) for layer in x.linear()],
    ),
    'model: standard deviation of the projection head': (0.02, lambda x: round(x.linear()[1].weight.std().item(), 3)),
    'model: teacher is a copy without gradient': (True, BuiltToCo.teacher_is_a_copy),
    'model: teacher keeps': (0.9, lambda x: x.head.momentum),
    'data: mean and std': (
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        lambda x: (flat(x.preprocessor.mean), flat(x.preprocessor.std)),
    ),
    'data: batch': ((448, 448), lambda x: x.preprocessor.size),
    'data: view 1': (
        [('scale', (0.5, 2.0)), ('mirror', 0.5, 'horizontal'), ('crop', (448, 448), 0), *view()],
        lambda x: x.views['view1'],
    ),
    'data: view 2': (
        [('part', (448, 448), (0.4, 1.0), 'bicubic'), *view(blur=0.1), ('solarise', 0.2, 128)],
        lambda x: x.views['view2'],
    ),
    'data: view 3, of the crop': (view(blur=0.5), lambda x: x.views['view3']),
    'data: lists': (
        Data(
            ('ImageSets/Segmentation/train_aug.txt', 'ImageSets/Segmentation/val.txt'),
            ('ImageSets/train2014.txt', 'ImageSets/val2014.txt'),
        ),
        lambda x: (x.train.dataset.ann_file, x.val.dataset.ann_file),
    ),
    'data: batch of a GPU, of all GPUs': (
        Data((2, 4), (2, 8)),
        lambda x: (x.train.batch_size, x.config.auto_scale_lr.base_batch_size),
    ),
    'labels: scales of CAMs': ((1.0, 0.5, 1.5), lambda x: x.labeler.cam_scales),
    'labels: low and high': (Data((0.25, 0.7), (0.25, 0.65)), lambda x: tuple(x.labeler.bkg_scores)),
    'labels: PAR': (('PAR', 10), lambda x: (type(x.par).__name__, x.par.num_iters)),
    'crops: number, side': ((8, 96), lambda x: (x.settings.num_crops, x.settings.local_size)),
    'crops: box in pixels as cells': (True, lambda x: not x.settings.scale_boxes),
    'loss: classifiers': ((1.0, 1.0), lambda x: (x.head.loss_cls.loss_weight, x.head.loss_aux.loss_weight)),
    'loss: patch tokens': ((0.2, 2), lambda x: (x.head.loss_ptc.loss_weight, x.head.loss_ptc.group_size)),
    'loss: class tokens': (
        Data((0.5, 0.5), (0.5, 1.0)),
        lambda x: (x.head.loss_ctc.loss_weight, x.head.loss_ctc.temperature),
    ),
    'loss: segmentation': ((0.1, 2), lambda x: (x.head.loss_decode.loss_weight, x.head.loss_decode.group_size)),
    'loss: energy': (
        (0.05, dict(sigma_rgb=15.0, sigma_xy=100.0, scale_factor=0.5)),
        lambda x: (x.head.loss_energy.loss_weight, x.head.loss_energy.settings),
    ),
    'phases: segmentation, contrast, auxiliary labels': (
        Data((2000, -1, -1), (8000, 12000, 12000)),
        lambda x: (x.settings.no_seg_until, x.settings.no_contrast_until, x.settings.aux_label_until),
    ),
    'schedule: optimiser': (('AdamW', 6e-5, (0.9, 0.999), 1e-8, 0.01), Built.optimizer_settings),
    # 102 + 50 and 10 + 3 in the reference: there the backbone has a frozen embedding and a classifier of two tensors
    # beside them, and the last layer of the projection head a magnitude.
    'schedule: rate and decay of trained tensors': (
        {(6e-5, 0.01): 102 - 3 + 50, (6e-4, 0.01): 10 - 1 + 3},
        Built.rates_and_decays,
    ),
    'schedule: clipping': (None, lambda x: x.config.optim_wrapper.get('clip_grad')),
    'schedule: rate': (Data(*(('WarmupPolyLR', total, 1500, 1e-6, 0.9) for total in (20000, 80000))), Built.rate),
    'schedule: iterations': (Data(20000, 80000), lambda x: x.config.train_cfg.max_iters),
    'validation: size': ((448, 448), lambda x: tuple(x.model.test_size)),
    'validation: figures': (
        [
            ('PaletteIoUMetric', None, None, None),
            ('CAMIoUMetric', 'pred_cam', Data(0.5, 0.45), 'cam'),
            ('CAMIoUMetric', 'pred_aux_cam', Data(0.5, 0.45), 'aux_cam'),
            ('ImageF1Metric', None, None, 'cls'),
        ],
        Built.figures,
    ),
    'test: scales': (
        Data(('ToCoTTAModel', [1.0, 1.5, 1.25], None), ('ToCoTTAModel', [1.0, 1.25, 1.5], (448, 448))),
        lambda x: (x.tta.type, list(x.tta.scales), x.tta.get('size')),
    ),
    'test: merges of mirror images and of scales': (
        Data(('sum', 'max'), ('max', 'sum')),
        lambda x: (x.tta.mirror, x.tta.over_scales),
    ),
    'test: CRF of toco_deit-b_voc_crf': ((10, 1.0, 1.0, 121.0, 5.0, 4.0), measured_crf),
}


@cache
def measured(name):
    built = BuiltToCo(CONFIGS / f'toco/{name}.py')
    return {key: find(built) for key, (_, find) in PUBLISHED.items()}


@pytest.mark.parametrize('key', PUBLISHED)
@pytest.mark.parametrize('name', NAMES)
def test_published_value(name, key):
    assert measured(name)[key] == resolve(PUBLISHED[key][0], name)


def test_classifiers_and_largefov_start_as_pytorch_initialises_them():
    head = MODELS.build(Config.fromfile(CONFIGS / 'toco/toco_deit-b_voc.py').model.decode_head)
    head.init_weights()
    for layer in (head.classifier, head.aux_classifier, head.conv6, head.conv_seg, head.projector.last_layer):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
