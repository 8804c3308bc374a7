"""The steps between an image and its pseudo-labels are those of training and prediction."""

import pytest
import torch
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from afa_mmseg.functional.pseudo_label import ClassPacking, fuse_labels
from afa_mmseg.models.backbones import Attention
from tests.reference_network import make_sample

BOX = (4, 60, 0, 50)


@pytest.fixture
def inputs():
    return torch.randn(2, 3, 64, 80)


@pytest.fixture
def samples():
    return [
        make_sample([1, 4], ori_shape=(64, 80), img_shape=(64, 80), img_box=BOX),
        make_sample([7], ori_shape=(32, 40), img_shape=(64, 80)),
    ]


@pytest.fixture
def steps(tiny_segmentor, inputs, samples):
    return tiny_segmentor.explain(inputs, samples)


def test_labels_are_those_that_training_learns_from(tiny_segmentor, inputs, samples, steps):
    classes = ClassPacking(torch.stack([sample.gt_label for sample in samples]))
    boxes = torch.tensor([BOX, (0, 64, 0, 80)])
    seg_label, affinity_label = tiny_segmentor.pseudo_labels(inputs, classes, boxes, iteration=7)
    for i, of_image in enumerate(steps):
        assert (of_image.pseudo_label() == seg_label[i]).float().mean() > 0.999  # batches round differently
        assert (of_image.cam_label() == affinity_label[i]).float().mean() > 0.999
        assert of_image.classes == samples[i].gt_label.nonzero().flatten().tolist()


def test_maps_are_those_of_predictions(tiny_segmentor, inputs, samples, steps):
    with tiny_segmentor.predicting_cams(pseudo_label=True):
        results = tiny_segmentor.predict(inputs, samples)
    for result, x in zip(results, steps):
        assert_close(x.to_original(x.cam()), result.pred_cam.data, rtol=0, atol=0)
        assert_close(x.to_original(x.refined(0.35)), result.pred_refined_cam.data, rtol=0, atol=0)
        assert torch.equal(x.to_original(x.pseudo_label()), result.pred_pseudo_label.data[0])
        assert_close(x.score, result.pred_score, rtol=0, atol=0)


def test_the_pseudo_label_fuses_the_labels_of_two_background_scores(steps):
    for of_image in steps:
        low, high = (of_image.label_at(score) for score in of_image.labeler.bkg_scores)
        assert torch.equal(fuse_labels(low[None], high[None])[0], of_image.pseudo_label())


def test_a_higher_background_score_gives_more_background(steps):
    shares = [(steps[0].refined_label(score) == 0).float().mean() for score in (0.05, 0.5, 0.95)]
    assert shares[0] < shares[1] < shares[2]


def test_without_labels_the_classifier_decides_and_others_may_be_named(tiny_segmentor, inputs):
    steps = tiny_segmentor.explain(inputs, [SegDataSample(metainfo={}) for _ in inputs])[0]
    assert steps.classes == (steps.score > 0.5).nonzero().flatten().tolist()
    other = steps.with_classes([3])
    assert other.classes == [3]
    assert other.cam().amax((1, 2)).nonzero().flatten().tolist() == [3]
    assert set(other.refined_label(0.3).unique().tolist()) <= {0, 4}
    with pytest.raises(ValueError, match=r'classes=\[20\].*0 to 19'):
        steps.with_classes([20])


def test_a_pixel_is_tied_to_the_row_of_its_cell(tiny_segmentor, inputs, steps):
    features, attentions = tiny_segmentor.backbone.forward_with_attention(inputs)
    affinity = tiny_segmentor.decode_head.affinity(attentions)
    height, width = features[-1].shape[-2:]
    row, column = 1, 2
    pixel = (32 * (row + 0.5) / height, 40 * (column + 0.5) / width)  # an image of 32 x 40 in an input of 64 x 80
    assert steps[1].cell_of(*pixel) == row * width + column
    expected = affinity[1, row * width + column].view(height, width)
    assert_close(steps[1].affinity_of(*pixel), expected, rtol=0, atol=1e-6)

    logits = [Attention(a.query, a.key).logits / a.query.shape[-1] ** 0.5 for a in attentions]
    heads = torch.cat([x[1].softmax(-1)[:, row * width + column] for x in logits])
    assert_close(steps[1].attention_of(*pixel), heads.view(-1, height, width), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ('meta', 'pixel', 'cell'),
    [
        ({}, (0, 0), (0, 0)),
        ({}, (63, 79), (3, 4)),
        (dict(ori_shape=(640, 800)), (639.5, 0), (3, 0)),
        (dict(ori_shape=(64, 80), flip=True), (0, 0), (0, 4)),
        (dict(ori_shape=(64, 80), flip=True, flip_direction='vertical'), (0, 0), (3, 0)),
        (dict(ori_shape=(48, 48), padding_size=(32, 0, 0, 16)), (0, 0), (0, 2)),  # left, right, top, bottom
        (dict(ori_shape=(48, 48), padding_size=(32, 0, 0, 16)), (47, 47), (2, 4)),
    ],
)
def test_pixels_of_the_file_find_their_cell(tiny_segmentor, inputs, meta, pixel, cell):
    steps = tiny_segmentor.explain(inputs[:1], [make_sample([0], **meta)])[0]
    assert steps.plain.grid == (4, 5)
    assert steps.cell_of(*pixel) == 5 * cell[0] + cell[1]


def test_a_pixel_outside_the_image_is_named(steps):
    with pytest.raises(ValueError, match=r'\(32, 0\) .* 32 x 40'):
        steps[1].cell_of(32, 0)


def test_maps_carry_no_gradient(steps):
    x = steps[0]
    maps = [x.cam(), x.propagated(0.3), x.refined(0.3), x.affinity_of(0, 0), x.attention_of(0, 0)]
    assert not any(x.requires_grad for x in maps)
