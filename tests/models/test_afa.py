import importlib

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from afa_mmseg.functional import dense_crf, dense_energy_loss
from afa_mmseg.functional.pseudo_label import ClassPacking
from afa_mmseg.models.pseudo_labelers import affinity as affinity_rule
from tests.models.probes import Calls, blocking_copies
from tests.reference_network import at_iteration, make_sample, tiny_config

#: Boxes: all of a crop, and a part of it.
WHOLE, PART = (0, 64, 0, 64), (3, 60, 0, 64)
SIZE = dict(ori_shape=(64, 64), img_shape=(64, 64))


def make_samples(boxes=(WHOLE, WHOLE), **meta):
    return [make_sample(classes, img_box=box, **meta) for classes, box in zip(([1], [2, 3]), boxes)]


@pytest.fixture
def segmentor(tiny_segmentor):
    return tiny_segmentor.train()


@pytest.fixture
def inputs():
    return torch.randn(2, 3, 64, 64)


def test_warm_up_makes_neither_cams_nor_labels(segmentor, inputs, monkeypatch):
    passes = Calls(monkeypatch, segmentor.backbone, 'forward_with_attention')
    refinements = Calls(monkeypatch, segmentor.pseudo_labeler.refiner, 'forward')
    at_iteration(2)
    losses = segmentor.loss(inputs, make_samples())
    assert (passes.count, refinements.count) == (1, 0)
    assert set(losses) == {'loss_cls', 'loss_affinity', 'loss_seg'}
    at_iteration(3)
    losses = segmentor.loss(inputs, make_samples())
    assert {'positive_pairs', 'negative_pairs', 'ignored_share', 'foreground_share'} < set(losses)
    assert refinements.count == 1


def test_the_head_is_not_called_in_cam_passes_and_training_features_are_reused(segmentor, inputs, monkeypatch):
    passes = Calls(monkeypatch, segmentor.backbone, 'forward_with_attention')
    head = Calls(monkeypatch, segmentor.decode_head, 'forward')
    at_iteration(7)
    segmentor.loss(inputs, make_samples())
    assert head.count == 1
    assert [tuple(x.shape) for (x,) in passes.arguments] == [
        (n, 3, s, s) for n, s in ((2, 64), (2, 64), (4, 32), (4, 96))
    ]


@pytest.mark.parametrize(
    ('iteration', 'affinity_from_propagated', 'same'), [(6, False, True), (7, False, False), (7, True, True)]
)
def test_which_labels_segmentation_and_affinity_learn_from(
    segmentor, inputs, iteration, affinity_from_propagated, same
):
    segmentor.phases = segmentor.phases._replace(affinity_from_propagated=affinity_from_propagated)
    gt_label, boxes = torch.eye(20)[[1, 4]], torch.tensor([WHOLE, (10, 50, 0, 60)])
    seg_label, affinity_label = segmentor.pseudo_labels(inputs, ClassPacking(gt_label), boxes, iteration)
    assert torch.equal(seg_label, affinity_label) == same
    assert (seg_label[1, :10] == 255).all()
    assert set(seg_label.unique().tolist()) <= {0, 2, 5, 255}


def test_cams_of_the_present_classes_only_are_the_same_cams(tiny_segmentor, inputs):
    gt_label = torch.eye(20)[[1, 4]]
    gt_label[1, 7] = 1
    classes = ClassPacking(gt_label)
    whole = tiny_segmentor.extract_cam(inputs)
    packed = tiny_segmentor.extract_cam(inputs, classes=classes)
    assert packed.cam.shape == (2, 2, 64, 64)
    assert_close(packed.cam, classes.pack(whole.cam), rtol=1e-6, atol=1e-6)
    assert_close(packed.affinity.dense(), whole.affinity.dense(), rtol=0, atol=0)


@pytest.mark.parametrize(('iteration', 'box'), [(0, WHOLE), (3, PART), (7, WHOLE), (7, PART)])
def test_a_step_never_waits_for_the_device(segmentor, inputs, monkeypatch, iteration, box):
    at_iteration(iteration)
    assert blocking_copies(monkeypatch, segmentor, inputs, make_samples([WHOLE, box], num_labels=2)) == []


def test_classes_are_counted_on_the_device_where_samples_do_not_count_them(segmentor, inputs, monkeypatch):
    at_iteration(3)
    with pytest.raises(RuntimeError, match='meta'):
        blocking_copies(monkeypatch, segmentor, inputs, make_samples())


def test_counts_of_pairs_are_those_of_the_labels(segmentor, inputs):
    at_iteration(3)
    losses = segmentor.loss(inputs, [make_sample([]), make_sample([])])
    # Without classes all is background: every pair within radius 2 on the 4 x 4 grid, 14 along each axis, agrees.
    assert losses['positive_pairs'] == 2 * 14**2
    assert losses['negative_pairs'] == 0
    assert losses['ignored_share'] == losses['foreground_share'] == 0


def test_shares_of_a_label_map(segmentor):
    shares = segmentor.label_shares(torch.tensor([[[0, 0, 1, 255], [2, 0, 2, 255]]]))
    assert {name: value.item() for name, value in shares.items()} == dict(ignored_share=0.25, foreground_share=0.375)


def test_prediction_is_mmsegs_and_carries_cams_on_request_only(segmentor, inputs):
    segmentor.eval()
    samples = make_samples(ori_shape=(48, 80), img_shape=(64, 64))
    (first, _) = segmentor.predict(inputs, [sample.clone() for sample in samples])
    assert first.pred_sem_seg.shape == (48, 80)
    assert first.seg_logits.data.shape == (21, 48, 80)
    assert 'pred_cam' not in first
    with torch.no_grad(), segmentor.predicting_cams(pseudo_label=True):
        results = segmentor.predict(inputs, samples)
    for result, classes in zip(results, [{1}, {2, 3}]):
        assert set(result.pred_cam.data.amax((1, 2)).nonzero().flatten().tolist()) == classes
        present = {0} | {c + 1 for c in classes}
        for field in ('pred_propagated_cam', 'pred_refined_cam'):
            scores = result.get(field).data
            assert scores.shape == (21, 48, 80)
            assert set(scores.amax((1, 2)).nonzero().flatten().tolist()) == present
        assert set(result.pred_pseudo_label.data.unique().tolist()) <= present | {255}
        assert result.pred_score.shape == (20,)
    assert 'with_cam' not in segmentor.test_cfg


def test_the_classifier_decides_where_no_label_is_given(segmentor, inputs):
    segmentor.eval()
    segmentor.test_cfg = ConfigDict(mode='whole', with_cam=True)
    with torch.no_grad():
        (result,) = segmentor.predict(inputs[:1])
    decided = result.pred_score > 0.5
    assert torch.equal(result.pred_cam.data.amax((1, 2)) > 0, decided)
    assert 0 < decided.sum() < 20


@pytest.mark.parametrize('field', ['pred_cam', 'pred_propagated_cam'])
def test_validation_cams_equal_the_reference(golden, tiny_segmentor, field):
    data = golden('tiny/wetr_forward_74x106')
    tiny_segmentor.test_cfg = ConfigDict(mode='whole', with_cam=True)
    sample = SegDataSample(metainfo=dict(ori_shape=(70, 100), img_shape=(74, 106)))
    sample.gt_label = data['val_cls_label'][0]
    tiny_segmentor.pseudo_labeler.radius = 8
    with torch.no_grad():
        (result,) = tiny_segmentor.predict(data['x'], [sample])
    scores, key = result.get(field).data, 'val_aff_label'
    if field == 'pred_cam':
        scores, key = torch.cat([torch.full((1, 70, 100), 0.45), scores]), 'val_cam_label'
    assert torch.equal(scores.argmax(0), data[key][0])


def test_propagated_cams_follow_the_affinity_that_test_cfg_names(tiny_segmentor, inputs):
    sample = make_sample([1], **SIZE)
    output = tiny_segmentor.extract_cam(inputs[:1])
    maps = {}
    for scale in ('image', 'largest'):
        tiny_segmentor.test_cfg = ConfigDict(mode='whole', with_cam=True, affinity_scale=scale, bkg_score=0.5)
        with torch.no_grad():
            maps[scale] = tiny_segmentor.predict(inputs[:1], [sample.clone()])[0].pred_propagated_cam.data
    expected = tiny_segmentor.pseudo_labeler.propagate(output, sample.gt_label[None], [0.5])
    assert_close(maps['largest'], expected[0])
    assert (maps['image'] - expected[0]).abs().max() > 1e-3


RULE = 'AffinityPseudoLabeler'


@pytest.mark.parametrize(
    ('section', 'value', 'message'),
    [
        ('test_cfg', dict(affinity_scale='biggest'), r"test_cfg.affinity_scale='biggest'.* image, largest"),
        ('test_cfg', dict(bkg_scores=0.5), r"test_cfg.bkg_scores.*'bkg_score'"),
        ('test_cfg', dict(bkg_score=7), 'test_cfg.bkg_score=7'),
        ('test_cfg', dict(bkg_score='0.5'), "test_cfg.bkg_score='0.5'"),
        ('test_cfg', dict(crf=3), 'test_cfg.crf=3'),
        ('test_cfg', dict(mode='slide', crop_size=(64, 64)), 'test_cfg.stride'),
        ('test_cfg', dict(crf=dict(num_iter=3)), r"test_cfg.crf.num_iter.*'num_iters'"),
        ('train_cfg', dict(cls_only_unti=1), r"train_cfg.cls_only_unti.*'cls_only_until'"),
        ('train_cfg', dict(cls_only_until='many'), "train_cfg.cls_only_until='many'"),
        ('pseudo_labeler', dict(type='CamPseudoLabeler'), RULE),
        ('pseudo_labeler', dict(type=RULE, radius=-1), 'radius=-1'),
        ('pseudo_labeler', dict(type=RULE, bkg_scores=(0.6, 0.4)), r'bkg_scores=\(0.6, 0.4\)'),
        ('pseudo_labeler', dict(type=RULE, cam_scales=(0.5, 1.5)), r'cam_scales=\(0\.5, 1\.5\)'),
        ('type', 'WeaklySupervisedSegmentor', "'AFA'.*pseudo_labeler=dict"),
    ],
)
def test_wrong_settings_are_named(section, value, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({**tiny_config(), section: value})


def test_samples_without_or_with_wrong_labels_are_named(segmentor, inputs):
    sample = SegDataSample(metainfo=dict(img_path='a.jpg'))
    with pytest.raises(KeyError, match=r'a\.jpg.*`gt_label`'):
        segmentor.loss(inputs[:1], [sample])
    sample.gt_label = torch.zeros(5)
    with pytest.raises(ValueError, match=r'gt_label of a\.jpg .* \(5,\).* 20.*num_classes'):
        segmentor.loss(inputs[:1], [sample])


def test_a_crop_too_small_for_the_smallest_scale_is_named(segmentor):
    at_iteration(3)
    with pytest.raises(ValueError, match=r'crop_size 48 x 48 .* 58 pixels'):
        segmentor.loss(torch.randn(1, 3, 48, 48), [make_sample([1])])


def test_affinity_loss_reaches_the_queries_of_the_last_blocks(segmentor, inputs):
    at_iteration(3)
    segmentor.loss(inputs, make_samples())['loss_affinity'].backward()
    gradient = segmentor.backbone.layers[3][1][1].attn.attn.in_proj_weight.grad
    width = gradient.shape[1]
    assert gradient[: 2 * width].abs().max() > 0
    assert gradient[2 * width :].abs().max() == 0
    assert segmentor.decode_head.conv_seg.weight.grad is None


def test_the_energy_loss_joins_after_the_warm_up(inputs, monkeypatch):
    config = tiny_config()
    config['decode_head']['loss_energy'] = dict(type='DenseEnergyLoss', loss_weight=0.01)
    segmentor = MODELS.build(config).train()
    samples = make_samples([WHOLE, (0, 64, 10, 50)])
    assert segmentor.loss(inputs, samples)['loss_energy'] == 0
    calls = Calls(monkeypatch, segmentor.decode_head.loss_energy, 'forward')
    at_iteration(3)
    losses = segmentor.loss(inputs, samples)
    ((logits, image, label, boxes, ignore_index),) = calls.arguments
    assert_close(image, inputs * segmentor.data_preprocessor.std + segmentor.data_preprocessor.mean)
    assert boxes.tolist() == [[0, 64, 0, 64], [0, 64, 10, 50]]
    expected = dense_energy_loss(logits, image, label, boxes, ignore_index=ignore_index)
    assert_close(losses['loss_energy'], 0.01 * expected)
    total, log = segmentor.parse_losses(losses)
    assert_close(log['loss'], sum(losses[f'loss_{name}'] for name in ('cls', 'affinity', 'seg', 'energy')).detach())
    total.backward()
    assert segmentor.decode_head.conv_seg.weight.grad.isfinite().all()


def test_a_crf_in_test_cfg_replaces_the_label_map(segmentor, inputs):
    size = dict(ori_shape=(50, 70), img_shape=(64, 64))
    with_crf = MODELS.build({**tiny_config(), 'test_cfg': dict(mode='whole', crf=dict(num_iters=4))}).eval()
    with_crf.load_state_dict(segmentor.state_dict())
    with torch.no_grad():
        plain, results = (network.predict(inputs, make_samples(**size)) for network in (segmentor.eval(), with_crf))
    pixels = inputs * segmentor.data_preprocessor.std + segmentor.data_preprocessor.mean
    image = F.interpolate(pixels, (50, 70), mode='bilinear', align_corners=False)
    for i, result in enumerate(results):
        logits = plain[i].seg_logits.data
        assert_close(result.seg_logits.data, logits)
        expected = dense_crf(image[i : i + 1], logits[None].softmax(1), 4).argmax(1)
        assert torch.equal(result.pred_sem_seg.data, expected)


def test_maps_of_a_mirrored_input_are_mirrored_back(segmentor, inputs):
    flipped = dict(SIZE, flip=True, flip_direction='horizontal')
    with torch.no_grad(), segmentor.eval().predicting_cams():
        plain = segmentor.predict(inputs, make_samples(**SIZE))
        mirrored = segmentor.predict(inputs.flip(-1), make_samples(**flipped))
    for one, other in zip(plain, mirrored):
        assert_close(other.pred_cam.data, one.pred_cam.data, rtol=0, atol=1e-4)
        assert (one.pred_cam.data - one.pred_cam.data.flip(-1)).abs().max() > 0.1


@pytest.mark.parametrize(('radius', 'by_bands'), [(1, True), (8, False)])
def test_labels_come_from_bands_of_pairs_or_from_all_of_them(segmentor, inputs, monkeypatch, radius, by_bands):
    bands = Calls(monkeypatch, affinity_rule, 'walk_by_bands')
    whole = Calls(monkeypatch, affinity_rule, 'transition_matrix')
    segmentor.pseudo_labeler.radius = radius
    at_iteration(7)
    segmentor.loss(inputs, make_samples())
    assert (bands.count, whole.count) == (by_bands, not by_bands)


@pytest.mark.parametrize(
    ('iteration', 'box', 'kernels'),
    [
        (0, WHOLE, 0),
        (6, (0, 64, 10, 50), 1),
        (7, WHOLE, 1),
        (7, (0, 64, 10, 50), 3),  # plain CAMs are refined on whole crops, propagated ones in the boxes of either size
    ],
)
def test_an_image_s_kernel_is_computed_once(segmentor, inputs, monkeypatch, iteration, box, kernels):
    module = importlib.import_module('afa_mmseg.functional.par')  # the package's attribute is the function
    computed = Calls(monkeypatch, module, 'par_kernel')
    at_iteration(iteration)
    segmentor.loss(inputs, make_samples([WHOLE, box]))
    assert computed.count == kernels


def test_prediction_does_no_work_for_cams(segmentor, inputs, monkeypatch):
    segmentor.eval()
    names = ('cam_logits', 'image_logits', 'affinity', 'affinity_factors')
    counted = [Calls(monkeypatch, segmentor, 'extract_cam')]
    counted += [Calls(monkeypatch, segmentor.decode_head, name) for name in names]
    batch = dict(inputs=list(inputs), data_samples=make_samples(**SIZE))
    segmentor.test_step(batch)
    assert [calls.count for calls in counted] == [0] * len(counted)
    with segmentor.predicting_cams():
        segmentor.test_step(batch)
    assert min(calls.count for calls in counted) > 0
