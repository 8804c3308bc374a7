import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import multi_scale_cam, normalize_cam


class Extract:
    """Counts its calls; its CAM is the red channel at stride 4, its affinity holds the size of the grid."""

    def __init__(self):
        self.batches, self.affinities = [], []

    def __call__(self, x, num_affinities):
        self.batches.append(tuple(x.shape))
        self.affinities.append(num_affinities)
        cam = x[:, :1, ::4, ::4]
        return cam, x[:num_affinities, 0, 0, 0].view(-1, 1, 1).expand(-1, *[cam[0, 0].numel()] * 2)


@pytest.mark.parametrize('name', ['64x64', '74x106'])
def test_multi_scale_cam_equals_the_reference(golden, tiny_segmentor, name):
    data = golden(f'tiny/wetr_forward_{name}')
    output = tiny_segmentor.extract_cam(data['x'])
    if 'cams' in data:
        assert_close(output.cam, data['cams'], rtol=0, atol=1e-4)
        assert_close(output.affinity.dense(), data['aff_mat'][: len(data['x'])], rtol=0, atol=1e-4)
    label = torch.nn.functional.interpolate(output.cam, size=(70, 100), mode='bilinear')
    if 'val_cam_label' in data:
        label = torch.nn.functional.pad(label * data['val_cls_label'][..., None, None], (0, 0, 0, 0, 1, 0), value=0.45)
        assert torch.equal(label.argmax(1), data['val_cam_label'])


def test_a_base_replaces_one_pass_and_changes_nothing():
    image = torch.rand(2, 3, 32, 48)
    whole, with_base = Extract(), Extract()
    expected = multi_scale_cam(whole, image)
    result = multi_scale_cam(with_base, image, base=Extract()(image, 2))
    assert whole.batches == [(4, 3, 32, 48), (4, 3, 16, 24), (4, 3, 48, 72)]
    assert whole.affinities == [0, 0, 2]  # of the largest scale only, of plain images only
    assert with_base.batches == [(2, 3, 32, 48), (4, 3, 16, 24), (4, 3, 48, 72)]
    for ours, theirs in zip(result, expected):
        assert_close(ours, theirs)


@pytest.mark.parametrize('scales', [(1.0, 0.5, 1.5), (1.5, 1.0, 0.5), (0.5, 1.5, 1.0)])
def test_affinity_is_that_of_the_largest_scale_of_the_plain_image_wherever_it_stands(scales):
    image = torch.rand(2, 3, 32, 32)
    _, affinity = multi_scale_cam(Extract(), image, scales)
    largest = torch.nn.functional.interpolate(image, size=(48, 48), mode='bilinear')
    assert affinity.shape == (2, 144, 144)
    assert_close(affinity[:, 0, 0], largest[:, 0, 0, 0])


def test_mirroring_the_image_mirrors_the_cam():
    image = torch.randn(1, 3, 32, 32)

    def extract(x, num_affinities):
        return x[:, :2], torch.zeros(num_affinities, 1, 1)

    cam, _ = multi_scale_cam(extract, image)
    mirrored, _ = multi_scale_cam(extract, image.flip(-1))
    assert_close(mirrored, cam.flip(-1))


def test_normalised_maps_span_zero_to_one_whatever_their_scale():
    cam = torch.rand(2, 3, 16, 16) * torch.tensor([1.0, 50.0, 1000.0]).view(1, 3, 1, 1)
    out = normalize_cam(cam)
    assert_close(out.amin((-2, -1)), torch.zeros(2, 3))
    assert_close(out.amax((-2, -1)), torch.ones(2, 3), rtol=0, atol=1e-4)
    assert normalize_cam(torch.full((1, 1, 4, 4), 3.0)).abs().max() == 0


@pytest.mark.parametrize('scales', [(0.5, 1.5), (), (1.0, 0.0)])
def test_scales_without_one_are_refused(scales):
    with pytest.raises(ValueError, match=r'cam_scales=.*Add 1\.0'):
        multi_scale_cam(Extract(), torch.rand(1, 3, 32, 32), scales)
