"""Uploads are read as browsers show them, or refused with the reason."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from afa_mmseg.web.uploads import Limits, read_upload
from tests.tiny_files import make_picture

RGB = make_picture(48, 64)
ROTATED = 6  # EXIF: turn clockwise to see it upright


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def grey16():
    return Image.fromarray(np.full((48, 64), 128 * 257, np.uint16))


def with_alpha():
    opaque = np.zeros((48, 64, 1), np.uint8)
    opaque[:, :32] = 255
    return Image.fromarray(np.concatenate([RGB, opaque], axis=2))


def test_a_plain_image_is_unchanged(image_file):
    image, size = read_upload(image_file(RGB), Limits())
    np.testing.assert_array_equal(image, RGB)
    assert size == (48, 64)


def test_exif_orientation_is_applied(image_file):
    image, size = read_upload(image_file(RGB, 'turned.png', exif=exif(ROTATED)), Limits())
    np.testing.assert_array_equal(image, np.rot90(RGB, -1))
    assert size == (64, 48)


@pytest.mark.parametrize(
    ('image', 'name', 'expected'),
    [
        (grey16(), 'deep.png', np.full((48, 64, 3), 128)),
        (Image.fromarray(np.full((48, 64), 0.5, np.float32)), 'float.tif', np.full((48, 64, 3), 255)),
        (Image.fromarray(RGB[..., 0]), 'grey.png', np.repeat(RGB[..., :1], 3, axis=2)),
        (Image.fromarray(RGB[..., 0] > 99), 'bilevel.png', np.repeat((RGB[..., :1] > 99) * 255, 3, axis=2)),
        (Image.new('CMYK', (64, 48), (0, 255, 255, 0)), 'print.tif', np.full((48, 64, 3), (255, 0, 0))),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_any_mode_becomes_rgb(image_file, image, name, expected):
    np.testing.assert_array_equal(read_upload(image_file(image, name), Limits())[0], expected)


def test_transparent_pixels_are_white(image_file):
    image, _ = read_upload(image_file(with_alpha()), Limits())
    np.testing.assert_array_equal(image[:, :32], RGB[:, :32])
    assert (image[:, 32:] == 255).all()
    palette = Image.fromarray(np.zeros((48, 64), np.uint8), mode='P')
    image, _ = read_upload(image_file(palette, 'palette.gif', transparency=0), Limits())
    assert (image == 255).all()


def test_the_first_frame_of_an_animation_is_read(image_file):
    frames = [Image.new('RGB', (64, 48), colour) for colour in ('red', 'blue')]
    image, _ = read_upload(image_file(frames[0], 'two.gif', save_all=True, append_images=frames[1:]), Limits())
    assert (image == (255, 0, 0)).all()


def test_large_images_are_downscaled(image_file):
    image, size = read_upload(image_file(RGB), Limits(max_side=32))
    assert image.shape == (24, 32, 3)
    assert size == (48, 64)
    np.testing.assert_allclose(image.mean(axis=(0, 1)), RGB.mean(axis=(0, 1)), atol=1)


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
        (b'hello', 'not an image'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'not an image'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', 'not an image'),
        (png_header(3, 3), 'cannot be read'),
        (png_header(6000, 5000), 'too many pixels; the limit is 25,000,000'),
        (png_header(60000, 60000), 'too many pixels; the limit is 25,000,000'),
        (b'\0' * 10_000_001, r'has 10\.0 MB; the limit is 10 MB'),
    ],
    ids=['empty', 'text', 'eps', 'svg', 'header only', 'large', 'bomb', 'file size'],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / 'upload.png').write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_upload(tmp_path / 'upload.png', Limits())


def test_a_truncated_image_is_refused(image_file):
    path = image_file(RGB)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match='the image cannot be read'):
        read_upload(path, Limits())


def test_a_text_chunk_that_unpacks_to_too_much_is_refused(image_file):
    info = PngInfo()
    info.add_text('comment', 'x' * 100_000_000, zip=True)
    with pytest.raises(ValueError, match='the image cannot be read'):
        read_upload(image_file(RGB, pnginfo=info), Limits())


@pytest.mark.parametrize(('field', 'value'), [('max_mb', 0), ('max_side', -1), ('max_visitors', 0)])
def test_limits_must_be_positive(field, value):
    with pytest.raises(ValueError, match=f'--{field.replace("_", "-")} is {value}'):
        Limits(**{field: value}).check()
