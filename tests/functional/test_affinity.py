import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import affinity_label, propagate_cam, radius_mask
from afa_mmseg.functional.affinity import label_on_grid, transition_matrix


@pytest.mark.parametrize('name', ['m_4x4_r8', 'm_6x6_r8', 'm_7x12_r3', 'm_20x20_r8'])
def test_radius_mask_equals_the_reference(golden, name):
    size, radius = name[len('m_') :].split('_r')
    mask = radius_mask(*map(int, size.split('x')), int(radius))
    assert mask.dtype == torch.bool
    assert torch.equal(mask, golden('mask_by_radius')[name].bool())


@pytest.mark.parametrize('name', ['160x256_r8', '100x120_r4', '128x128_nomask'])
def test_affinity_label_equals_the_reference(golden, name):
    data = golden(f'afflabel_{name}')
    height, width = data['label'].shape[1:]
    label = label_on_grid(data['label'], (height // 16, width // 16))
    assert torch.equal(affinity_label(label, data.get('mask')), data['out'])


def test_label_on_grid_takes_the_pixels_at_multiples_of_the_stride():
    label = torch.randint(0, 21, (2, 64, 96))
    assert torch.equal(label_on_grid(label, (4, 6)), label[:, ::16, ::16])


def test_affinity_label_by_hand():
    label = torch.tensor([[[0, 0], [5, 255]]])
    assert affinity_label(label)[0].tolist() == [
        [1, 1, 0, 255],
        [1, 1, 0, 255],
        [0, 0, 1, 255],
        [255, 255, 255, 255],
    ]


@pytest.mark.parametrize(('bkg_score', 'key'), [(0.35, 'out_bkg35'), (0.55, 'out_bkg55')])
def test_propagation_equals_the_reference(golden, bkg_score, key):
    data = golden('propagate_10x16')
    out = propagate_cam(data['cams'], data['aff'], radius_mask(10, 16, 4), data['cls_labels'], bkg_score)
    assert_close(out, data[key], rtol=0, atol=1e-5)


def test_propagation_without_mask_or_classes_equals_the_reference(golden):
    data = golden('propagate_10x16')
    before = data['aff'].clone()
    out = propagate_cam(data['cams'], data['aff'], None, data['cls_labels'], 0.35)
    assert_close(out, data['out_nomask_bkg35'], rtol=0, atol=1e-5)
    none = propagate_cam(data['cams'], data['aff'], radius_mask(10, 16, 4), data['cls_labels'] * 0, 0.35)
    assert_close(none, data['out_nocls_bkg35'], rtol=0, atol=1e-5)
    assert torch.equal(data['aff'], before)


def test_propagation_stays_inside_the_radius():
    cam = torch.zeros(1, 1, 1, 9)
    cam[..., 4] = 1.0
    out = propagate_cam(cam, torch.ones(1, 9, 9), radius_mask(1, 9, 2), torch.ones(1, 1), 0.5)
    foreground = out[0, 1, 0]
    assert (foreground[2:7] > foreground[:2].max() + 1e-3).all()
    assert_close(foreground[:2], foreground[7:].flip(0))


def test_transition_columns_sum_to_less_than_one_by_the_epsilon():
    affinity = torch.rand(2, 12, 12)
    near = radius_mask(3, 4, 1)
    kept = (affinity * near) ** 2
    expected = kept.sum(1) / (kept.sum(1) + 0.1)
    assert_close(transition_matrix(affinity, near).sum(1), expected)


def test_propagation_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r'needs affinity \(1, 12, 12\).*got \(1, 9, 9\)'):
        propagate_cam(torch.rand(1, 2, 3, 4), torch.rand(1, 9, 9), None, torch.ones(1, 2), 0.35)
