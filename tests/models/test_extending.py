"""The examples of docs/extending.md run as they are written."""

import inspect
import re

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from afa_mmseg.models.pseudo_labelers import CamOutput
from tests import cam_only
from tests.reference_network import at_iteration, make_sample, tiny_config
from tests.tools.toolbox import REPO

BLOCKS = re.findall(r'^```python\n(.*?)^```$', (REPO / 'docs/extending.md').read_text(), re.MULTILINE | re.DOTALL)
EXAMPLES = ('BoxBlur', 'SharpPseudoLabeler', 'SharpAffinityPseudoLabeler', 'CAMOnly')


@pytest.fixture(autouse=True)
def registered():
    """Run the blocks, and restore the registry."""
    before = dict(MODELS.module_dict)
    MODELS.module_dict.pop('CAMOnly', None)
    for block in BLOCKS:
        exec(compile(block, 'docs/extending.md', 'exec'), {})
    yield
    for name in EXAMPLES:
        MODELS.module_dict.pop(name)
    MODELS.module_dict.update(before)


@pytest.mark.parametrize(
    'overrides',
    [
        dict(refiner=dict(_delete_=True, type='BoxBlur', size=5)),
        dict(pseudo_labeler=dict(type='SharpAffinityPseudoLabeler')),
    ],
    ids=['refiner', 'rule'],
)
def test_a_part_is_one_line_of_a_config(overrides):
    config = Config(tiny_config())
    config.merge_from_dict(overrides)
    segmentor = MODELS.build(config._cfg_dict.to_dict()).train()
    at_iteration(7)
    losses = segmentor.loss(torch.randn(1, 3, 64, 64), [make_sample([3], img_box=(0, 60, 0, 64))])
    assert all(value.isfinite() for value in losses.values())


def test_the_method_is_the_tested_one_and_trains():
    (block,) = [block for block in BLOCKS if 'class CAMOnly' in block]
    assert inspect.getsource(cam_only.CAMOnly).replace('force=True', '').strip() in block
    losses = MODELS.build(cam_only.MODEL).loss(torch.randn(2, 3, 64, 64), [make_sample([0], 6), make_sample([1, 2], 6)])
    assert losses['loss_cls'] > 0
    assert losses['loss_seg'] > 0


@pytest.mark.parametrize('iteration', [3, 7])  # labels from plain CAMs, from propagated ones
def test_the_rule_decides_in_every_phase(iteration):
    config = tiny_config()
    segmentor = MODELS.build(config).eval()
    inputs, samples = torch.randn(1, 3, 64, 64), [make_sample([3])]
    classes = segmentor.present_classes(segmentor.image_labels(samples), samples)
    boxes = segmentor.image_boxes(inputs, samples)
    plain = segmentor.pseudo_labels(inputs, classes, boxes, iteration)
    rule = dict(config['pseudo_labeler'], type='SharpAffinityPseudoLabeler', refiner=config['refiner'])
    segmentor.pseudo_labeler = MODELS.build(rule)
    for label, other in zip(plain, segmentor.pseudo_labels(inputs, classes, boxes, iteration)):
        assert not torch.equal(label, other)


def test_the_sharp_rule_shrinks_objects():
    shares = []
    for name in ('CamPseudoLabeler', 'SharpPseudoLabeler'):
        labeler = MODELS.build(dict(type=name))
        cam = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
        label = labeler.label(torch.rand(1, 3, 64, 64), CamOutput(cam, None, (4, 4)), torch.ones(1, 1), None)
        shares.append((label == 1).float().mean())
    assert 0 < shares[1] < shares[0]
