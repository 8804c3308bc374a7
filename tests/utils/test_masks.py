"""Masks as palette PNGs."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.datasets import VOCImageLevelDataset
from afa_mmseg.utils import mask_palette, read_mask, save_mask

PALETTE = VOCImageLevelDataset.METAINFO['palette']
MASK = np.arange(256, dtype=np.uint8).reshape(8, 32)


@pytest.mark.parametrize('mask', [MASK, MASK.T, MASK[::2, ::-3], np.asfortranarray(MASK)])
def test_values_come_back_whatever_the_memory_layout(tmp_path, mask):
    save_mask(mask, PALETTE, tmp_path / 'sub' / 'a.png')
    read = read_mask(tmp_path / 'sub' / 'a.png')
    assert read.dtype == np.uint8
    assert np.array_equal(read, mask)
    assert os.listdir(tmp_path / 'sub') == ['a.png']


def test_colours_are_those_of_voc(tmp_path):
    save_mask(np.array([[0, 1, 15, 255]], np.uint8), PALETTE, tmp_path / 'a.png')
    with Image.open(tmp_path / 'a.png') as image:
        assert image.mode == 'P'
        colours = np.array(image.convert('RGB'))[0].tolist()
    assert colours == [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]


def test_the_palette_has_256_colours_black_where_there_is_no_class():
    palette = np.array(mask_palette(PALETTE)).reshape(256, 3)
    assert palette[: len(PALETTE)].tolist() == [list(colour) for colour in PALETTE]
    assert not palette[len(PALETTE) : 255].any()


def test_greyscale_masks_and_open_files_are_read(tmp_path):
    Image.fromarray(MASK).save(tmp_path / 'a.png')
    assert np.array_equal(read_mask(tmp_path / 'a.png'), MASK)
    assert np.array_equal(read_mask(io.BytesIO((tmp_path / 'a.png').read_bytes())), MASK)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', '1', 'I;16'])
def test_images_that_hold_no_indices_are_named(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=f'{tmp_path}/a.png: .* {mode}'):
        read_mask(tmp_path / 'a.png')


def test_broken_files_are_named(tmp_path):
    rng = np.random.default_rng(0)
    save_mask(rng.integers(0, 21, (64, 64), dtype=np.uint8), PALETTE, tmp_path / 'a.png')
    data = (tmp_path / 'a.png').read_bytes()
    for broken in (b'', data[:20], data[:900], data[: len(data) // 2], b'text'):
        (tmp_path / 'a.png').write_bytes(broken)
        with pytest.raises(ValueError, match=r'mask .*a\.png: cannot be read'):
            read_mask(tmp_path / 'a.png')
        with pytest.raises(ValueError, match=r'mask x of y\.zip: cannot be read'):
            read_mask(io.BytesIO(broken), 'x of y.zip')
    with pytest.raises(FileNotFoundError):
        read_mask(tmp_path / 'missing.png')
