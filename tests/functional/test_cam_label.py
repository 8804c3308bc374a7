import pytest
import torch

from afa_mmseg.functional import cam_to_label
from afa_mmseg.functional.token_contrast import patch_pairs


@pytest.mark.parametrize(
    ('name', 'low', 'high', 'boxed'),
    [
        ('nobox_bkg50', 0.5, 0.5, False),
        ('nobox_bkg45', 0.45, 0.45, False),
        ('box_bkg50', 0.5, 0.5, True),
        ('box_mid_25_70', 0.25, 0.7, True),
        ('box_mid_25_65', 0.25, 0.65, True),
    ],
)
def test_label_equals_the_reference(golden, name, low, high, boxed):
    data = golden('toco/cam_to_label')
    label = cam_to_label(data['cam'], data['cls_label'], low, high, data['img_box'] if boxed else None)
    assert torch.equal(label, data[name].long())


def test_label_on_the_token_grid_with_unscaled_boxes_equals_the_reference(golden):
    data = golden('toco/aff_mask')
    cam = torch.nn.functional.interpolate(data['cam_aux'], size=(4, 6), mode='bilinear', align_corners=False)
    label = cam_to_label(cam, data['cls_label'], 0.25, 0.7, data['img_box'])
    assert torch.equal(label, data['label'].long())
    assert torch.equal(patch_pairs(label), data['mask'].long())


def test_permuted_classes_permute_labels():
    cam = torch.rand(2, 4, 8, 8)
    gt_label = torch.tensor([[1.0, 0, 1, 1], [0, 1, 1, 0]])
    order = torch.tensor([2, 0, 3, 1])
    label = cam_to_label(cam[:, order], gt_label[:, order], 0.25, 0.7)
    names = torch.full((256,), 255)
    names[0], names[1:5] = 0, order + 1
    assert torch.equal(names[label], cam_to_label(cam, gt_label, 0.25, 0.7))
