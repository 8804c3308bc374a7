import pytest
import torch

from afa_mmseg.functional import local_crop_flags, sample_local_crops, uncertain_regions
from afa_mmseg.functional.local_crops import cut_crops

CASES = ['normal', 'few', 'edge', 'size32']


@pytest.mark.parametrize('high', [70, 65])
def test_regions_equal_the_reference(golden, high):
    data = golden('toco/cam_to_label')
    regions = uncertain_regions(data['cam'], data['cls_label'], 0.25, high / 100)
    assert torch.equal(regions, data[f'roi_25_{high}'])


@pytest.mark.parametrize('case', CASES)
def test_flags_equal_the_reference(golden, case):
    data = golden('toco/local_crops')
    flags = local_crop_flags(data[f'roi_{case}'], data[f'boxes_{case}'].long(), int(data[f'size_{case}']))
    assert torch.equal(flags, data[f'flags_{case}'][:, 2:].long())


def test_a_flag_is_the_mean_region_value_and_not_the_share_of_uncertain_pixels():
    regions = torch.zeros(1, 10, 10, dtype=torch.uint8)
    regions[0, 0] = 2  # a tenth of the pixels, a mean of 0.2
    corner = torch.zeros(1, 1, 2, dtype=torch.long)
    assert local_crop_flags(regions, corner, 10).tolist() == [[0]]
    regions[0, 1, 0] = 1
    assert local_crop_flags(regions, corner, 10).tolist() == [[1]]


@pytest.mark.parametrize('case', CASES)
def test_corners_are_distinct_and_of_the_references_candidates(golden, case):
    data = golden('toco/local_crops')
    regions, size = data[f'roi_{case}'], int(data[f'size_{case}'])
    corners = sample_local_crops(regions, 8, size)
    limits = torch.tensor(regions.shape[-2:]) - 2 * (size // 2)
    assert ((corners >= 0) & (corners < limits)).all()
    for i, places in enumerate(corners):
        assert len(set(map(tuple, places.tolist()))) == 8
        centres = regions[i, places[:, 0] + size // 2, places[:, 1] + size // 2]
        assert case == 'few' or (centres <= 1).all()
        if case == 'edge':  # the reference has these eight candidates, too
            assert sorted(places.tolist()) == sorted(data['boxes_edge'][i].tolist())


def test_each_candidate_is_drawn_equally_often():
    regions = torch.full((2000, 6, 7), 2, dtype=torch.uint8)
    regions[:, 1:5, 2:5] = 1
    corners = sample_local_crops(regions, 3, 2, torch.Generator().manual_seed(0)).flatten(0, 1)
    counts = torch.bincount(corners[:, 0] * 7 + corners[:, 1], minlength=42)
    drawn = counts[counts > 0]
    assert len(drawn) == 12
    assert (drawn - 500).abs().max() < 5 * (500 * 11 / 12) ** 0.5


def test_an_image_without_room_is_refused():
    with pytest.raises(ValueError, match='size=96'):
        sample_local_crops(torch.zeros(1, 98, 98), 8, 96)


def test_crops_are_cut_at_their_corners():
    image = torch.arange(2 * 3 * 5 * 6).view(2, 3, 5, 6)
    corners = torch.tensor([[[0, 0], [2, 3]], [[1, 2], [3, 4]]])
    crops = cut_crops(image, corners, 2)
    assert crops.shape == (2, 2, 3, 2, 2)
    assert torch.equal(crops[0, 1], image[0, :, 2:4, 3:5])
    assert torch.equal(crops[1, 0], image[1, :, 1:3, 2:4])
