import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from afa_mmseg.functional import fuse_labels, par
from afa_mmseg.functional.pseudo_label import (
    ClassPacking,
    ScoreStack,
    cam_scores,
    denormalize,
    refine_and_fuse,
    refine_in_boxes,
)

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


def label_from_cam(refine, image, cam, gt_label, boxes=None):
    return refine_and_fuse(refine, image, [cam_scores(cam, gt_label)], boxes)[0]


def label_from_scores(refine, image, low, high, boxes=None):
    return refine_and_fuse(refine, image, [ScoreStack(torch.cat([low, high], dim=1))], boxes)[0]


def test_denormalize_truncates_as_the_reference(golden):
    data = golden('denorm')
    out = denormalize(data['normalised'], MEAN, STD)
    assert_close(out, data['f01'], rtol=0, atol=0)
    lost = (data['values'] - (out * 255).round().flatten(2)[0]).abs()
    assert set(lost.unique().tolist()) == {0, 1}


def test_fusion_of_thresholded_cams_equals_the_reference(golden):
    data = golden('cam_to_label')
    cam = data['cam'] * data['cls_label'][..., None, None]
    label = {bkg: F.pad(cam, (0, 0, 0, 0, 1, 0), value=bkg).argmax(1) for bkg in (0.35, 0.45, 0.55)}
    assert torch.equal(label[0.45], data['label_no_box'])
    assert torch.equal(fuse_labels(label[0.35], label[0.55], data['img_box']), data['label_ignore_mid'])


def test_labels_from_plain_cams_equal_the_reference(golden):
    data = golden('refine_bkg_v2')
    cam = torch.zeros(2, 20, 80, 96)
    cam[:, data['kept']] = data['cams_kept']
    arguments = par, data['images'], cam
    assert torch.equal(label_from_cam(*arguments, data['cls_labels'], data['img_box']), data['out'].long())
    nothing = label_from_cam(*arguments, data['cls_labels'] * 0, data['img_box'])
    assert torch.equal(nothing, data['out_nocls'].long())


def test_refinement_in_boxes_equals_the_reference(golden):
    data = golden('refine_cls_label')
    out = refine_in_boxes(par, data['images'], data['cams_keep'], data['img_box'])
    assert_close(out, data['out_keep'], rtol=0, atol=1e-5)
    everything = torch.zeros(2, 21, 80, 96)
    everything[:, data['keep']] = out
    assert torch.equal(everything.argmax(1), data['argmax'])


def test_images_refined_together_equal_images_refined_alone():
    image, cam = torch.rand(3, 3, 40, 40), torch.rand(3, 2, 40, 40)
    boxes = torch.tensor([[0, 30, 0, 30], [10, 40, 5, 35], [3, 20, 0, 40]])
    together = refine_in_boxes(par, image, cam, boxes)
    alone = torch.cat([refine_in_boxes(par, image[i, None], cam[i, None], boxes[i, None]) for i in range(3)])
    assert_close(together, alone, rtol=0, atol=1e-6)
    assert together[0, :, 30:].abs().max() == 0


@pytest.mark.parametrize('boxes', [None, [[0, 40, 0, 40], [-3, 50, 0, 40]], [[0, 40, 0, 40], [4, 40, 0, 31]]])
@pytest.mark.parametrize('couples', [False, True])
def test_labels_made_together_are_those_made_apart(boxes, couples):
    calls = []

    def refine(image, cam):
        calls.append(cam.shape)
        return par(image, cam, num_iters=3)

    refine.couples_classes = couples
    image, cam, low, high = (torch.rand(2, n, 40, 40) for n in (3, 2, 3, 3))
    gt_label, boxes = torch.tensor([[1, 1], [0, 1]]), None if boxes is None else torch.tensor(boxes)
    stacks = [ScoreStack(torch.cat([low, high], dim=1)), cam_scores(cam, gt_label)]
    together = refine_and_fuse(refine, image, stacks, boxes)
    if not couples and (boxes is None or boxes[1, 3] == 40):
        assert calls == [(2, 12, 20, 20)]
    else:
        assert len(calls) > 1
    assert not couples or {shape[1] for shape in calls} == {3}  # where classes compete, backgrounds are refined apart
    assert torch.equal(together[0], label_from_scores(refine, image, low, high, boxes))
    assert torch.equal(together[1], label_from_cam(refine, image, cam, gt_label, boxes))
    assert not torch.equal(*together)


@pytest.mark.parametrize('box', [[2, 2, 0, 4], [3, 1, 0, 4], [-3, -1, 0, 4], [5, 9, 0, 4], [0, 4, 9, 12]])
def test_nothing_is_inside_an_empty_reversed_or_outside_box(box):
    label = torch.ones(1, 4, 4, dtype=torch.long)
    assert (fuse_labels(label, label, torch.tensor([box])) == 255).all()
    image, cam = torch.rand(1, 3, 4, 4), torch.rand(1, 2, 4, 4)
    assert refine_in_boxes(par, image, cam, torch.tensor([box])).abs().max() == 0


def test_boxes_beyond_the_crop_are_clamped():
    label = torch.ones(1, 4, 4, dtype=torch.long)
    assert fuse_labels(label, label, torch.tensor([[-2, 9, 1, 9]]))[0].tolist() == [[255, 1, 1, 1]] * 4


def test_packing_classes_changes_no_label(golden):
    data = golden('refine_bkg_v2')
    cam = torch.zeros(2, 20, 80, 96)
    cam[:, data['kept']] = data['cams_kept']
    classes = ClassPacking(data['cls_labels'])
    packed = classes.pack(cam)
    assert packed.shape[1] == data['cls_labels'].sum(1).max()
    label = label_from_cam(par, data['images'], packed, classes.gt_label, data['img_box'])
    assert torch.equal(classes.unpack(label), data['out'].long())


def test_packing_serves_several_rounds_of_the_batch_and_a_known_count():
    gt_label = torch.tensor([[0.0, 1, 0, 0], [1, 0, 1, 0]])
    cam = torch.rand(4, 4, 3, 3)
    packed = ClassPacking(gt_label).pack(cam)
    assert torch.equal(packed, torch.stack([cam[0, [1, 0]], cam[1, [0, 2]], cam[2, [1, 0]], cam[3, [0, 2]]]))
    assert torch.equal(ClassPacking(gt_label, most=2).pack(cam), packed)


def test_packing_images_without_classes():
    classes = ClassPacking(torch.zeros(2, 5))
    assert classes.pack(torch.rand(2, 5, 8, 8)).shape == (2, 1, 8, 8)
    label = torch.tensor([[[0, 255]], [[0, 0]]])
    assert torch.equal(classes.unpack(label), label)


def test_undecided_band_between_the_two_scores():
    low = torch.tensor([[[0, 2, 2, 3]]])
    high = torch.tensor([[[0, 0, 2, 2]]])
    assert fuse_labels(low, high).tolist() == [[[0, 255, 2, 2]]]
    assert fuse_labels(low, high, ignore_index=9).tolist() == [[[0, 9, 2, 2]]]


def test_propagated_labels_without_refinement_are_their_argmax():
    low = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1).expand(1, 2, 6, 6)
    high = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1).expand(1, 2, 6, 6)

    def resize(image, cam):
        return F.interpolate(cam, size=image.shape[-2:], mode='bilinear', align_corners=True)

    assert (label_from_scores(resize, torch.rand(1, 3, 6, 6), low, high) == 255).all()
    assert (label_from_scores(resize, torch.rand(1, 3, 6, 6), low, low) == 1).all()


def test_fusion_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r'boxes \(B, 4\), got .* \(2, 4\)'):
        fuse_labels(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), torch.zeros(2, 4))


@pytest.mark.parametrize('size', [32, 20])
def test_scores_of_another_size_are_not_refined_in_boxes(size):
    with pytest.raises(ValueError, match=rf'{size} x {size} .*64 x 64.*in_boxes=False'):
        refine_in_boxes(par, torch.rand(1, 3, 64, 64), torch.rand(1, 2, size, size), torch.tensor([[0, 40, 0, 64]]))
