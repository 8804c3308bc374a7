"""Masks from a zip: only masks leave it, and only into their folder."""

import stat
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.datasets.preparation.voc import prepare_voc
from afa_mmseg.utils import read_mask
from tests.datasets.preparation.voc_files import (
    HEIGHT,
    PICTURES,
    TRAIN_AUG,
    WIDTH,
    draw_mask,
    multiply,
    write_list,
    write_png,
    write_sbd,
    write_voc,
    write_zip,
)


@pytest.fixture
def root(tmp_path):
    return write_voc(tmp_path / 'data')


@pytest.fixture
def archive(tmp_path):
    return write_zip(tmp_path / 'a.zip')


def prepare(root, archive, num_workers=0):
    return prepare_voc(root, aug_zip=archive, num_workers=num_workers)


def png(tmp_path, mask, size=None):
    """A mask as PNG; with `size` it says to have that width and height."""
    write_png(tmp_path / 'x.png', mask)
    data = (tmp_path / 'x.png').read_bytes()
    if size:
        header = b'IHDR' + struct.pack('>II', size, size) + data[24:29]
        data = data[:12] + header + struct.pack('>I', zlib.crc32(header)) + data[33:]
    return data


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def test_masks_and_list(root, archive):
    result = prepare(root, archive)
    assert result.masks_written == {'SegmentationClass': 3, 'a.zip': 2}
    assert (root / 'ImageSets/Segmentation/train_aug.txt').read_text().split() == TRAIN_AUG
    assert files_in(root / 'SegmentationClassAug') == [f'{img_id}.png' for img_id in sorted(PICTURES)]
    for img_id, objects in PICTURES.items():
        assert np.array_equal(read_mask(root / f'SegmentationClassAug/{img_id}.png'), draw_mask(objects))


def test_neither_masks_nor_list_of_voc_are_needed(root, archive):
    for path in (root / 'SegmentationClass').iterdir():
        path.unlink()
    (root / 'ImageSets/Segmentation/train.txt').unlink()
    assert prepare(root, archive).masks_written == {'a.zip': 5}


def test_several_processes_give_each_picture_its_own_mask(root, tmp_path):
    ids = multiply(root, write_sbd(tmp_path), 30)
    masks = {
        f'SegmentationClassAug/{img_id}.png': png(tmp_path, np.full((HEIGHT, WIDTH), index % 21, np.uint8))
        for index, img_id in enumerate(ids)
    }
    archive = write_zip(tmp_path / 'a.zip', **masks)
    prepare(root, archive, num_workers=2)
    values = [np.unique(read_mask(root / f'SegmentationClassAug/{img_id}.png')).tolist() for img_id in ids]
    assert values == [[index % 21] for index in range(30)]


def test_a_zip_that_changes_is_read_again(root, archive, tmp_path):
    prepare(root, archive)
    for path in [*(root / 'SegmentationClassAug').iterdir(), archive]:
        path.unlink()
    mask = png(tmp_path, np.full((HEIGHT, WIDTH), 3, np.uint8))
    write_zip(archive, ['2008_000002', '2007_000001'], **{'SegmentationClassAug/2008_000003.png': mask})
    prepare(root, archive)
    assert np.unique(read_mask(root / 'SegmentationClassAug/2008_000003.png')).tolist() == [3]


def test_other_entries_are_told_and_stay_in_the_zip(root, tmp_path):
    archive = write_zip(tmp_path / 'a.zip', **{'README.md': b'x', 'Visualization/2008_000002.png': b'x'})
    result = prepare(root, archive)
    assert "left out: 'README.md', 'Visualization/2008_000002.png'" in ' '.join(result.warnings)
    assert '_x.png' not in str(result)
    assert files_in(tmp_path / 'data') == files_in(root.parents[1])
    assert not list(tmp_path.rglob('README.md'))


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    'entry',
    [
        '../evil.png',
        'SegmentationClassAug/../../evil.png',
        '/evil.png',
        'C:/evil.png',
        '..\\evil.png',
        '\\\\host\\evil.png',
        'SegmentationClassAug/../SegmentationClassAug/2007_000001.png',
        link('SegmentationClassAug/2011_000001.png'),
        link('SegmentationClassAug'),
    ],
    ids=str,
)
def test_entries_that_lead_out_of_the_folder_are_refused_and_nothing_is_written(root, archive, tmp_path, entry):
    with zipfile.ZipFile(archive, 'a') as file:
        file.writestr(entry, b'/etc/passwd')
    before = files_in(tmp_path)
    with pytest.raises(ValueError) as error:
        prepare(root, archive)
    name = getattr(entry, 'filename', entry)
    assert [word for word in (str(archive), repr(name), 'nothing was unpacked') if word not in str(error.value)] == []
    assert files_in(tmp_path) == before


def test_a_truncated_zip_is_named(root, archive):
    data = archive.read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 1):
        archive.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r'a\.zip: is no zip, or is truncated .*fetch it again'):
            prepare(root, archive)
    assert not (root / 'SegmentationClassAug').exists()


def test_wrong_bytes_in_an_entry_are_named(root, archive):
    with zipfile.ZipFile(archive) as file:
        entry = file.getinfo('SegmentationClassAug/2008_000002.png')
    data = bytearray(archive.read_bytes())
    data[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r'2008_000002\.png of .*a\.zip: cannot be unpacked .*fetch the zip again'):
        prepare(root, archive)
    assert not (root / 'SegmentationClassAug/2008_000002.png').exists()


def test_an_entry_that_unpacks_to_far_too_much_is_refused(root, tmp_path):
    archive = write_zip(
        tmp_path / 'a.zip', ['2007_000001'], **{'SegmentationClassAug/2008_000002.png': bytes(65 * 2**20)}
    )
    assert archive.stat().st_size < 2**20
    with pytest.raises(ValueError, match=r'2008_000002\.png of .*takes 68157440 bytes'):
        prepare(root, archive)


def jpeg_of(tmp_path):
    Image.new('RGB', (WIDTH, HEIGHT)).save(tmp_path / 'x.jpg')
    return (tmp_path / 'x.jpg').read_bytes()


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda tmp: png(tmp, np.zeros((HEIGHT, WIDTH + 2), np.uint8)), ['is 58 x 40 pixels, its picture 56 x 40']),
        (lambda tmp: png(tmp, np.zeros((1, 1), np.uint8), size=20000), ['cannot be read', 'decompression bomb']),
        (lambda tmp: png(tmp, np.full((HEIGHT, WIDTH), 77, np.uint8)), ['holds the values 77;']),
        (lambda tmp: png(tmp, draw_mask([]))[:-30], ['cannot be read']),
        (jpeg_of, ['mode RGB']),
        (lambda tmp: b'no picture', ['cannot be read']),
    ],
    ids=['size', 'bomb', 'values', 'truncated', 'colours', 'text'],
)
def test_a_mask_that_does_not_fit_is_named_and_not_written(root, tmp_path, make, words):
    entry = 'SegmentationClassAug/2008_000003.png'
    archive = write_zip(tmp_path / 'a.zip', ['2007_000001', '2008_000002'], **{entry: make(tmp_path)})
    with pytest.raises(ValueError) as error:
        prepare(root, archive)
    assert [word for word in [f'{entry} of {archive}', *words] if word not in str(error.value)] == []
    assert not (root / entry).exists()
    assert (root / 'SegmentationClassAug/2008_000002.png').exists()


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_zips_with_the_wrong_masks_are_errors(root, archive, tmp_path):
    twice = write_zip(tmp_path / 'b.zip', **{'old/SegmentationClassAug/2008_000002.png': b''})
    with pytest.raises(ValueError, match=r"same id twice: '2008_000002'"):
        prepare(root, twice)
    with zipfile.ZipFile(tmp_path / 'c.zip', 'w') as file:
        file.writestr('masks/2008_000002.png', b'')
    with pytest.raises(ValueError, match=r"(?s)holds no SegmentationClassAug/ID.png.*'masks/2008_000002.png'"):
        prepare(root, tmp_path / 'c.zip')
    with pytest.raises(FileNotFoundError, match=r'(?s)zip of masks: no such file: .*d\.zip.*--aug-zip'):
        prepare(root, tmp_path / 'd.zip')
    write_list(root / 'ImageSets/Segmentation/val.txt', ['2009_000004', '2009_000005', '2008_000003'])
    part = write_zip(tmp_path / 'e.zip', ['2007_000001', '2008_000002'])
    with pytest.raises(FileNotFoundError, match=r"(?s)1 of 5 ids .*no mask in .*e\.zip: '2008_000003'.*incomplete"):
        prepare(root, part)
