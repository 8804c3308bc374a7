import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.functional import cam_to_label
from afa_mmseg.models.pseudo_labelers import CamOutput
from tests.models.probes import blocking_copies
from tests.reference_network import at_iteration, make_sample
from tests.toco_network import BACKBONE, HEAD, MEAN, STD, normalize, tiny_state


def build(**settings):
    defaults = dict(
        type='ToCo',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=MEAN, std=STD),
        backbone=BACKBONE,
        decode_head=HEAD,
        refiner=dict(type='PAR', num_iters=2),
        train_cfg=dict(local_size=32),
    )
    model = MODELS.build({**defaults, **settings})
    if settings.get('decode_head', HEAD) is HEAD:
        model.load_state_dict(tiny_state())
    return model


def batch(count=2, size=96):
    samples = [make_sample([i, i + 3], img_box=(0, size, 16, size), ori_shape=(size, size)) for i in range(count)]
    for sample in samples:
        for view in ('view2', 'view3'):
            sample.set_data({view: torch.randint(0, 256, (3, size, size), dtype=torch.uint8)})
    return normalize(torch.randint(0, 256, (count, 3, size, size))), samples


@pytest.mark.parametrize('i', [0, 1])
def test_validation_equals_the_reference(golden, i):
    data = golden('toco/validate')
    image = normalize(data[f'image{i}_u8'])
    sample = make_sample([], ori_shape=image.shape[-2:], img_shape=image.shape[-2:])
    sample.gt_label = data[f'cls_label{i}'][0]
    model = build(test_size=(int(data['crop_size']),) * 2).eval()
    with torch.no_grad(), model.predicting_cams():
        (result,) = model.predict(image, [sample])
    assert torch.equal(result.pred_sem_seg.data[0], data[f'seg_label{i}'].long())
    assert_close(result.pred_score, data[f'cls{i}'][0].sigmoid(), rtol=0, atol=2e-5)
    for name, key in (('pred_cam', 'cam_label'), ('pred_aux_cam', 'cam_aux_label')):
        label = cam_to_label(getattr(result, name).data[None], sample.gt_label[None], 0.5, 0.5)
        assert torch.equal(label[0], data[f'{key}{i}'].long())


def test_pixel_values_are_truncated_as_in_the_reference(golden):
    data = golden('toco/denorm')
    rgb = build().to_rgb(data['normalised'][None, :, None])
    assert torch.equal((rgb[0, :, 0] * 255).round().to(torch.uint8), data['u8'])


@pytest.mark.parametrize('name', ['64x64', '75x107', '80x144'])
def test_multi_scale_cams_of_both_classifiers_equal_the_reference(golden, name):
    data = golden(f'toco/forward_{name}')
    output = build().extract_cam(normalize(data['x_u8']))
    assert_close(output.cam[:, data['kept']], data['ms_cam_kept'], rtol=0, atol=2e-5)
    assert_close(output.aux_cam[:, data['kept']], data['ms_cam_aux_kept'], rtol=0, atol=2e-5)


@pytest.mark.parametrize('high', [70, 65])
def test_segmentation_labels_equal_the_reference(golden, high):
    data = golden('toco/refine_label')
    rule = dict(type='CamPseudoLabeler', refiner=dict(type='PAR', num_iters=10), bkg_scores=(0.25, high / 100))
    labeler, output = MODELS.build(rule), CamOutput(data['cams'], None, (5, 6))
    image, boxes = data['images_u8'].float() / 255, data['img_box'].long()
    for name, gt_label in (('label', data['cls_labels']), ('label_nocls', torch.zeros_like(data['cls_labels']))):
        label = labeler.label(image, output, gt_label, boxes)
        assert torch.equal(label, data[f'{name}_25_{high}'].long())


def test_boxes_in_cells_keep_what_shows_image():
    """At 96 pixels and 6 cells, a box from pixel 16 to 96 covers columns 1 to 5; as cell numbers it covers none."""
    cam, gt_label = torch.zeros(1, 1, 96, 96), torch.ones(1, 1)
    boxes = torch.tensor([[0, 96, 16, 96]])
    assert (build().patch_label(cam, gt_label, boxes, (6, 6)) == 255).all()
    label = build(train_cfg=dict(scale_boxes=True)).patch_label(cam, gt_label, boxes, (6, 6))
    assert (label[0, :, 0] == 255).all()
    assert (label[0, :, 1:] == 0).all()


@pytest.mark.parametrize('name', ['loss_aux', 'loss_ptc', 'loss_ctc'])
def test_each_loss_can_be_left_out(name):
    model, (inputs, samples) = build(decode_head={**HEAD, name: None}), batch()
    at_iteration(2001)
    losses = model.loss(inputs, samples)
    assert name not in losses
    sum(loss for key, loss in losses.items() if 'loss' in key).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(('iteration', 'working'), [(4, []), (5, ['seg']), (6, ['seg', 'ptc', 'ctc'])])
def test_phases(iteration, working):
    model, (inputs, samples) = build(train_cfg=dict(no_seg_until=4, no_contrast_until=5, local_size=32)), batch()
    at_iteration(iteration)
    losses = model.loss(inputs, samples)
    assert [name for name in ('seg', 'ptc', 'ctc') if losses[f'loss_{name}'] != 0] == working
    sum(loss for key, loss in losses.items() if 'loss' in key).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_the_average_moves_once_in_an_iteration():
    model, (inputs, samples) = build(train_cfg=dict(no_contrast_until=9)), batch()
    bias = model.decode_head.averaged_projector.mlp[0].bias
    with torch.no_grad():
        model.decode_head.projector.mlp[0].bias.fill_(1)
        bias.zero_()
    for iteration, expected in ((0, 0.1), (0, 0.1), (1, 0.19)):  # the second is a further batch of its iteration
        at_iteration(iteration)
        model.loss(inputs, samples)
        assert_close(bias, torch.full_like(bias, expected))


def test_the_input_passes_through_the_backbone_once_for_all_losses():
    """Of the reference's 12 passes of an image 8 remain; sizes are those of images and mirror images in a batch."""
    model, (inputs, samples) = build(), batch()
    seen = []
    model.backbone.patch_embed.register_forward_hook(lambda module, args, out: seen.append(tuple(args[0].shape[::2])))
    at_iteration(2001)
    model.loss(inputs, samples)
    assert sorted(seen) == [(2, 96)] * 3 + [(4, 48), (4, 144), (16, 32)]


@pytest.mark.parametrize(('iteration', 'scale_boxes'), [(0, False), (2001, True)])
def test_a_step_never_waits_for_the_device(monkeypatch, iteration, scale_boxes):
    model, (inputs, samples) = build(train_cfg=dict(local_size=32, scale_boxes=scale_boxes)), batch()
    for sample in samples:
        sample.set_metainfo(dict(num_labels=2))
    at_iteration(iteration)
    assert blocking_copies(monkeypatch, model, inputs, samples) == []


def test_a_sample_without_views_is_named():
    model, (inputs, samples) = build(), batch()
    del samples[1].view3
    with pytest.raises(KeyError, match='view3'):
        model.loss(inputs, samples)


def test_settings_are_checked():
    with pytest.raises(ValueError, match='no_segments_until'):
        build(train_cfg=dict(no_segments_until=3))


@pytest.mark.parametrize('iteration', [0, 2001])
def test_half_precision_trains(iteration):
    model, (inputs, samples) = build(), batch()
    at_iteration(iteration)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(inputs, samples)
    assert all(loss.isfinite() for loss in losses.values())
    full = model.loss(inputs, samples)
    assert_close(losses['loss_cls'], full['loss_cls'], rtol=0.05, atol=0.02)


@pytest.mark.parametrize(('until', 'is_auxiliary'), [(None, True), (900, False), (-1, False)])
def test_pseudo_labels_of_a_trained_network_are_those_of_its_last_phase(until, is_auxiliary):
    model = build(train_cfg=dict(local_size=32, aux_label_until=until)).eval()
    inputs, samples = batch()
    outputs = model.extract_cam(inputs, classes=model.present_classes(model.image_labels(samples), samples))
    cam = outputs.aux_cam if is_auxiliary else outputs.cam
    classes, boxes = model.present_classes(model.image_labels(samples), samples), model.image_boxes(inputs, samples)
    (expected,) = model.apply_rule(model.pseudo_labeler.label, inputs, outputs._replace(cam=cam), classes, boxes)
    found = torch.stack([steps.pseudo_label() for steps in model.explain(inputs, samples)])
    assert (found != expected).float().mean() < 1e-3  # rounding decides ties
    refined = [steps.refined_label(0.5) for steps in model.explain(inputs, samples)]
    assert any((label > 0).any() for label in refined)
