"""Masks from SBD's MATLAB files."""

import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from afa_mmseg.datasets import VOCImageLevelDataset
from afa_mmseg.datasets.preparation.sbd import read_sbd_mask
from afa_mmseg.datasets.preparation.voc import prepare_voc
from afa_mmseg.utils import mask_palette, read_mask
from tests.datasets.preparation.voc_files import HEIGHT, PICTURES, WIDTH, multiply, write_mat, write_sbd, write_voc

MASK = np.arange(21, dtype=np.uint8)[:, None].repeat(7, axis=1)


@pytest.fixture
def sbd(tmp_path):
    return write_sbd(tmp_path)


@pytest.fixture
def root(tmp_path):
    return write_voc(tmp_path)


def prepare(root, sbd):
    return prepare_voc(root, sbd=sbd, num_workers=0)


def test_values_and_orientation(tmp_path):
    write_mat(tmp_path / 'a.mat', MASK)
    mask = read_sbd_mask(tmp_path / 'a.mat')
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, MASK)


def test_masks_are_written_with_the_palette_of_voc(root, sbd):
    prepare(root, sbd)
    with Image.open(root / 'SegmentationClassAug/2008_000002.png') as picture:
        assert picture.mode == 'P'
        colours = picture.getpalette()
    person = 15
    assert colours == mask_palette(VOCImageLevelDataset.METAINFO['palette'])[: len(colours)]
    assert colours[3 * person : 3 * person + 3] == [192, 128, 128]


def test_several_processes_give_each_picture_its_own_mask(root, sbd):
    ids = multiply(root, sbd, 30)
    for index, img_id in enumerate(ids):
        (sbd / f'dataset/cls/{img_id}.mat').unlink()
        write_mat(sbd / f'dataset/cls/{img_id}.mat', np.full((HEIGHT, WIDTH), index % 21, np.uint8))
    prepare_voc(root, sbd=sbd, num_workers=2)
    values = [np.unique(read_mask(root / f'SegmentationClassAug/{img_id}.png')).tolist() for img_id in ids]
    assert values == [[index % 21] for index in range(30)]


def test_files_of_no_listed_picture_are_told(root, sbd):
    write_mat(sbd / 'dataset/cls/2011_000009.mat', MASK)
    assert "left out: '2011_000009.mat'" in ' '.join(prepare(root, sbd).warnings)
    assert not (root / 'SegmentationClassAug/2011_000009.png').exists()


# Wrong inputs


@pytest.mark.parametrize(
    ('name', 'field', 'mask', 'words'),
    [
        ('GTinst', 'Segmentation', MASK, ['GTcls', 'Segmentation', 'folder `cls`']),
        ('GTcls', 'Categories', MASK, ['GTcls', 'Segmentation', 'folder `cls`']),
        ('GTcls', 'Segmentation', MASK.astype(float), ['float64 (21, 7)', 'uint8 matrix']),
        ('GTcls', 'Segmentation', np.zeros((2, 3, 4), np.uint8), ['uint8 (2, 3, 4)', 'uint8 matrix']),
    ],
)
def test_other_matlab_files_are_named(tmp_path, name, field, mask, words):
    write_mat(tmp_path / 'a.mat', mask, name, field)
    with pytest.raises(ValueError) as error:
        read_sbd_mask(tmp_path / 'a.mat')
    assert [word for word in [str(tmp_path / 'a.mat'), *words] if word not in str(error.value)] == []


def test_a_plain_matrix_is_named(tmp_path):
    savemat(tmp_path / 'a.mat', {'GTcls': MASK})
    with pytest.raises(ValueError, match='holds no GTcls with a field'):
        read_sbd_mask(tmp_path / 'a.mat')


def test_a_truncated_file_is_named_wherever_it_ends(tmp_path):
    write_mat(tmp_path / 'whole.mat', MASK)
    data = (tmp_path / 'whole.mat').read_bytes()
    for length in (*range(0, len(data), 16), len(data) - 1):
        (tmp_path / 'cut.mat').write_bytes(data[:length])
        with pytest.raises(ValueError, match=r'SBD mask .*cut\.mat: .*(unpack it again|folder `cls`)'):
            read_sbd_mask(tmp_path / 'cut.mat')


def test_a_file_with_wrong_bytes_is_named(tmp_path):
    # Bytes of the checksum at the end of the compressed part, which scipy alone ends the process for.
    write_mat(tmp_path / 'whole.mat', MASK)
    data = (tmp_path / 'whole.mat').read_bytes()
    for position in (124, 127, 129, 140, len(data) // 2, *range(len(data) - 4, len(data))):
        wrong = bytearray(data)
        wrong[position] ^= 0xFF
        (tmp_path / 'wrong.mat').write_bytes(wrong)
        with pytest.raises(ValueError, match=r'SBD mask .*wrong\.mat: cannot be read \(.*unpack it again'):
            read_sbd_mask(tmp_path / 'wrong.mat')


@pytest.mark.parametrize(
    ('mask', 'words'),
    [
        (np.zeros((WIDTH, HEIGHT), np.uint8), ['is 40 x 56 pixels, its picture 56 x 40']),
        (np.full((HEIGHT, WIDTH), 21, np.uint8), ['holds the values 21;', '0 to 20']),
    ],
)
def test_a_mask_that_does_not_fit_is_named_and_not_written(root, sbd, mask, words):
    path = sbd / 'dataset/cls/2008_000002.mat'
    write_mat(path, mask)
    with pytest.raises(ValueError) as error:
        prepare(root, sbd)
    assert [word for word in [str(path), *words] if word not in str(error.value)] == []
    written = {file.name for file in (root / 'SegmentationClassAug').iterdir()}
    assert written == {f'{img_id}.png' for img_id in PICTURES if img_id != '2008_000002'}


def test_missing_parts_of_sbd_are_named_before_anything_is_written(root, sbd, tmp_path):
    def message():
        with pytest.raises(FileNotFoundError) as error:
            prepare(root, sbd)
        assert 'tar xzf benchmark.tgz' in str(error.value)
        assert 'http://home.bharathh.info/pubs/codes/SBD/download.html' in str(error.value)
        return str(error.value)

    (sbd / 'dataset/cls/2008_000003.mat').unlink()
    assert '1 of 3 ids have no .mat file in' in message()
    (sbd / 'dataset/val.txt').unlink()
    assert f'no such file: {sbd}/dataset/val.txt' in message()
    archive = tmp_path / 'benchmark.tgz'
    archive.write_bytes(b'')
    with pytest.raises(FileNotFoundError, match=r'(?s)SBD: no such folder: .*benchmark\.tgz.*tar xzf benchmark\.tgz'):
        prepare(root, archive)
    assert not (root / 'SegmentationClassAug').exists()
    assert not (root / 'ImageSets/Segmentation/train_aug.txt').exists()


def test_pictures_that_voc_lacks_are_named(root, sbd):
    (root / 'JPEGImages/2008_000003.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)pictures: 1 of 5 ids .*'2008_000003'.*VOCtrainval"):
        prepare(root, sbd)


def test_without_scipy_the_remedy_is_told(root, sbd, monkeypatch):
    for name in ('scipy', 'scipy.io'):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks what cannot be imported
    with pytest.raises(ModuleNotFoundError, match='pip install scipy'):
        prepare(root, sbd)
