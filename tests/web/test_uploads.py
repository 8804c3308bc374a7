"""Uploads are read as inference reads images, or refused with the reason."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.web.uploads import Limits, read_upload
from tests.tiny_files import make_image

RGB = make_image(48, 64)
ROTATED = 6  # EXIF: turn clockwise to see it upright


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def test_a_plain_image_is_unchanged_and_a_large_one_downscaled(image_file):
    image, size = read_upload(image_file(RGB), Limits())
    np.testing.assert_array_equal(image, RGB)
    assert size == (48, 64)
    small, size = read_upload(image_file(RGB), Limits(max_side=32))
    assert (small.shape, size) == ((24, 32, 3), (48, 64))
    np.testing.assert_allclose(small.mean(axis=(0, 1)), RGB.mean(axis=(0, 1)), atol=1)


def test_exif_orientation_is_applied(image_file):
    image, size = read_upload(image_file(RGB, 'turned.jpg', exif=exif(ROTATED), quality=95), Limits())
    np.testing.assert_allclose(image, np.rot90(RGB, -1), atol=90)
    assert np.abs(image.astype(int) - np.rot90(RGB, -1)).mean() < 10
    assert size == (64, 48)


def png_header(width, height):
    """A PNG header that claims a size; no pixels follow."""
    chunks = ((b'IHDR', struct.pack('>II5B', width, height, 8, 2, 0, 0, 0)), (b'IDAT', b''), (b'IEND', b''))
    packed = (
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data)) for name, data in chunks
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(packed)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'accepted formats: JPEG, PNG'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'not an image'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', 'not an image'),
        (png_header(3, 3), 'cannot (be )?read'),
        (png_header(6000, 5000), 'too many pixels; the limit is 25,000,000'),
        (png_header(60000, 60000), 'too many pixels; the limit is 25,000,000'),
        (b'\0' * 10_000_001, r'has 10\.0 MB; the limit is 10 MB'),
    ],
    ids=['empty', 'eps', 'svg', 'header only', 'large', 'bomb', 'file size'],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / 'upload.png').write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_upload(tmp_path / 'upload.png', Limits())
    assert str(tmp_path) not in str(error.value)  # visitors read it


def test_a_truncated_image_is_refused(image_file):
    path = image_file(RGB)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match='the image cannot be read'):
        read_upload(path, Limits())


@pytest.mark.parametrize(('field', 'value'), [('max_mb', 0), ('max_side', -1), ('max_visitors', 0)])
def test_limits_must_be_positive(field, value):
    with pytest.raises(ValueError, match=f'--{field.replace("_", "-")} is {value}'):
        Limits(**{field: value}).check()
