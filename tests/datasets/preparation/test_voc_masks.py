"""Masks of VOC's images from SBD's MATLAB files, and from a zip."""

import sys
import zipfile

import numpy as np
import pytest

from afa_mmseg.datasets.preparation.voc import prepare_voc
from afa_mmseg.datasets.preparation.voc_masks import read_sbd_mask
from afa_mmseg.utils import read_mask
from tests.datasets.preparation.voc_files import (
    HEIGHT,
    IMAGES,
    TRAIN_AUG,
    WIDTH,
    draw_mask,
    multiply,
    write_mat,
    write_png,
    write_zip,
)
from tests.refusal import refused

MASK = np.arange(21, dtype=np.uint8)[:, None].repeat(7, axis=1)


def prepare(root, **kwargs):
    return prepare_voc(root, num_workers=0, **kwargs)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


# SBD


def test_values_and_orientation(tmp_path):
    write_mat(tmp_path / 'a.mat', MASK)
    mask = read_sbd_mask(tmp_path / 'a.mat')
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, MASK)


def test_several_processes_write_each_image_its_own_mask(downloads, sbd, tmp_path):
    ids = multiply(downloads, sbd, 30)
    masks = {img_id: np.full((HEIGHT, WIDTH), index % 21, np.uint8) for index, img_id in enumerate(ids)}
    for img_id, mask in masks.items():
        (sbd / f'dataset/cls/{img_id}.mat').unlink()
        write_mat(sbd / f'dataset/cls/{img_id}.mat', mask)
    archive = write_zip(tmp_path / 'a.zip')
    with zipfile.ZipFile(archive, 'a') as file:
        for img_id, mask in masks.items():
            write_png(tmp_path / 'x.png', mask)
            file.write(tmp_path / 'x.png', f'SegmentationClassAug/{img_id}.png')
    for source in (dict(sbd=sbd), dict(aug_zip=archive)):
        prepare_voc(downloads, num_workers=2, **source)
        folder = downloads / 'SegmentationClassAug'
        assert all(np.array_equal(read_mask(folder / f'{img_id}.png'), mask) for img_id, mask in masks.items())
        for path in folder.iterdir():
            path.unlink()
        (downloads / 'cls_labels.json').unlink()


def test_other_files_are_named(tmp_path):
    for name, field in (('GTinst', 'Segmentation'), ('GTcls', 'Categories')):
        write_mat(tmp_path / 'a.mat', MASK, name, field)
        refused(read_sbd_mask, tmp_path / 'a.mat', words=['a.mat', 'GTcls.Segmentation'])
    (tmp_path / 'a.mat').write_bytes((tmp_path / 'a.mat').read_bytes()[:100])
    refused(read_sbd_mask, tmp_path / 'a.mat', words=['a.mat', 'GTcls.Segmentation'])


@pytest.mark.parametrize(
    ('mask', 'words'),
    [
        (np.zeros((WIDTH, HEIGHT), np.uint8), ['40 x 56', '56 x 40']),
        (np.full((HEIGHT, WIDTH), 21, np.uint8), ['21', '0 to 20']),
    ],
)
def test_a_mask_of_sbd_that_does_not_fit_is_not_written(downloads, sbd, mask, words):
    write_mat(sbd / 'dataset/cls/2008_000002.mat', mask)
    refused(prepare, downloads, sbd=sbd, words=['2008_000002.mat', *words])
    assert files_in(downloads / 'SegmentationClassAug') == [f'{i}.png' for i in sorted(IMAGES) if i != '2008_000002']


def test_missing_parts_of_sbd_are_named_before_anything_is_written(downloads, sbd, tmp_path):
    before = files_in(downloads)
    kinds = dict(errors=FileNotFoundError, sbd=sbd)
    (sbd / 'dataset/cls/2008_000003.mat').unlink()
    refused(prepare, downloads, words=['.mat', "'2008_000003'", 'tar xzf benchmark.tgz'], **kinds)
    (sbd / 'dataset/val.txt').unlink()
    refused(prepare, downloads, words=[f'{sbd}/dataset/val.txt'], **kinds)
    refused(prepare, downloads, words=['benchmark.tgz'], errors=FileNotFoundError, sbd=tmp_path / 'benchmark.tgz')
    assert files_in(downloads) == before


def test_without_scipy_the_remedy_is_named(downloads, sbd, monkeypatch):
    for name in ('scipy', 'scipy.io'):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks what cannot be imported
    refused(prepare, downloads, sbd=sbd, errors=ModuleNotFoundError, words=['scipy', 'afa-mmseg[converters]'])


# Zip


@pytest.fixture
def archive(tmp_path):
    return write_zip(tmp_path / 'a.zip')


def test_masks_and_list_of_a_zip(downloads, archive):
    lines = []
    assert prepare(downloads, aug_zip=archive, report=lines.append)
    assert '5 masks in SegmentationClassAug, 5 of them new' in '\n'.join(lines)
    assert (downloads / 'ImageSets/Segmentation/train_aug.txt').read_text().split() == TRAIN_AUG
    assert files_in(downloads / 'SegmentationClassAug') == [f'{img_id}.png' for img_id in sorted(IMAGES)]
    for img_id, objects in IMAGES.items():
        assert np.array_equal(read_mask(downloads / f'SegmentationClassAug/{img_id}.png'), draw_mask(objects))


def test_nothing_but_masks_leaves_the_zip(downloads, archive, tmp_path):
    names = ['README.md', '../evil.png', '/evil.png', 'Visualization/2008_000002.png', '__MACOSX/x.png']
    with zipfile.ZipFile(archive, 'a') as file:
        for name in names:
            file.writestr(name, b'x')
    prepare(downloads, aug_zip=archive)
    assert files_in(downloads / 'SegmentationClassAug') == [f'{img_id}.png' for img_id in sorted(IMAGES)]
    assert not [path for name in ('evil.png', 'README.md') for path in tmp_path.rglob(name)]
    assert not (tmp_path.parent / 'evil.png').exists()


def test_a_truncated_zip_is_named(downloads, archive):
    data = archive.read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 1):
        archive.write_bytes(data[:length])
        refused(prepare, downloads, aug_zip=archive, words=['a.zip', 'fetch it again'])
    assert not (downloads / 'SegmentationClassAug').exists()


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (np.zeros((HEIGHT, WIDTH + 2), np.uint8), ['58 x 40', '56 x 40']),
        (b'text', ['cannot be read']),
    ],
)
def test_a_mask_of_a_zip_that_does_not_fit_is_not_written(downloads, tmp_path, data, words):
    entry = 'SegmentationClassAug/2008_000003.png'
    if not isinstance(data, bytes):
        write_png(tmp_path / 'x.png', data)
        data = (tmp_path / 'x.png').read_bytes()
    archive = write_zip(tmp_path / 'a.zip', ['2007_000001', '2008_000002'], **{entry: data})
    refused(prepare, downloads, aug_zip=archive, words=[f'{entry} of {archive}', *words])
    assert not (downloads / entry).exists()


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_zips_with_the_wrong_masks(downloads, archive, tmp_path):
    twice = write_zip(tmp_path / 'b.zip', **{'old/SegmentationClassAug/2008_000002.png': b''})
    refused(prepare, downloads, aug_zip=twice, words=['b.zip', "'2008_000002'"])
    with zipfile.ZipFile(tmp_path / 'c.zip', 'w') as file:
        file.writestr('masks/2008_000002.png', b'')
    refused(prepare, downloads, aug_zip=tmp_path / 'c.zip', words=['SegmentationClassAug', 'masks/2008_000002.png'])
    refused(prepare, downloads, aug_zip=tmp_path / 'd.zip', errors=FileNotFoundError, words=['d.zip', '--aug-zip'])
    part = write_zip(tmp_path / 'e.zip', ['2007_000001'])
    for path in (downloads / 'SegmentationClass').iterdir():
        path.unlink()
    refused(prepare, downloads, aug_zip=part, errors=FileNotFoundError, words=['SegmentationClassAug', "'2009_000004'"])
