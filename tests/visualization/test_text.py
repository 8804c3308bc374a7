"""Class names in any script, with a font that has them and without."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from afa_mmseg.visualization import draw_text, legible, text, text_size
from afa_mmseg.visualization.text import break_text


@pytest.fixture
def install(monkeypatch):
    """Give the machine other fonts."""
    caches = (text.system_fonts, text.font_file)
    monkeypatch.setattr(text, '_warned', set())

    def install(*files):
        monkeypatch.setattr('matplotlib.font_manager.findSystemFonts', lambda: [str(file) for file in files])
        for cache in caches:
            cache.cache_clear()

    yield install
    for cache in caches:
        cache.cache_clear()


def make_font(path, characters):
    """Write a font in which each of some characters is a black square."""
    pen = TTGlyphPen(None)
    for i, point in enumerate([(100, 0), (100, 800), (900, 800), (900, 0)]):
        (pen.lineTo if i else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(['.notdef', 'square'])
    builder.setupCharacterMap({ord(character): 'square' for character in characters})
    builder.setupGlyf({'.notdef': TTGlyphPen(None).glyph(), 'square': square})
    builder.setupHorizontalMetrics({'.notdef': (1000, 0), 'square': (1000, 100)})
    builder.setupHorizontalHeader(ascent=900, descent=-200)
    builder.setupNameTable(dict(familyName='Squares', styleName='Regular'))
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def ink(picture):
    """Which pixels of white text on black were written."""
    return picture.max(axis=-1) > 128


def write(line, width=300, **options):
    return draw_text(np.zeros((40, width, 3), np.uint8), line, (5, 5), **options)


@pytest.mark.parametrize('name', ['dining table', 'кошка', 'γάτα', 'قطة', 'חתול', 'crème brûlée'])
def test_scripts_of_the_default_font_need_nothing_installed(install, recwarn, name):
    install()
    assert legible(name) == name
    width, height = text_size(name)
    written = ink(write(name))
    rows, columns = np.nonzero(written)
    assert written.sum() > 5 * len(name)
    assert columns.max() < 5 + width + 2
    assert columns.max() > 5 + width - 6
    assert rows.min() >= 5
    assert rows.max() < 5 + height
    assert not [w for w in recwarn if 'font' in str(w.message)]


def test_a_font_of_the_machine_draws_what_the_default_one_lacks(install, tmp_path, recwarn):
    install(make_font(tmp_path / 'squares.ttf', '猫犬'))
    assert legible('猫 cat') == '猫 cat'
    square = ink(write('猫', size=20))
    rows, columns = np.nonzero(square)
    assert square[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].mean() > 0.95
    assert abs(int(np.ptp(rows)) + 1 - 16) <= 1  # 800 of 1000 units, at 20 pixels
    assert text_size('猫犬', 20)[0] == 40
    mixed = ink(write('cat 猫', size=20))
    offset = text_size('cat ', 20)[0]
    assert mixed[rows.min() + 3 : rows.max() - 2, 5 + offset + 4 : 5 + offset + 15].all()
    assert not [w for w in recwarn if 'font' in str(w.message)]


def test_without_a_font_the_number_of_the_class_stands_for_its_name(install, recwarn):
    install()
    with pytest.warns(UserWarning, match="no font of this machine has '猫'.* fonts-noto-cjk"):
        assert legible('猫', 4) == '#4'
    assert legible('家猫 (cat)', 4) == '? (cat) #4'
    assert legible('家猫 (cat)') == '? (cat)'
    assert legible('犬', 5) == '#5'
    assert not [w for w in recwarn if 'font' in str(w.message)]  # once is enough
    with pytest.warns(UserWarning, match='fonts-noto-core'):
        assert legible('बिल्ली', 6) == '#6'
    assert ink(write('猫')).sum() == ink(write('?')).sum() > 0


def test_fonts_that_cannot_be_read_are_passed_over(install, tmp_path):
    (tmp_path / 'broken.ttf').write_bytes(b'no font at all')
    install(tmp_path / 'broken.ttf', make_font(tmp_path / 'squares.ttf', '猫'))
    assert legible('猫', 4) == '猫'


def test_marks_and_joiners_stay_with_their_letter(install, tmp_path):
    install(make_font(tmp_path / 'squares.ttf', '猫'))
    assert [run.text for run in text._runs('a猫\u0301\u200d b', 13)] == ['a', '猫\u0301\u200d ', 'b']


@pytest.mark.parametrize('width', [0, 10, 60, 120])
def test_text_never_is_wider_than_it_may_be(width):
    name = 'a class with a very long name'
    written = ink(write(name, max_width=width))
    assert not written[:, 5 + width + 1 :].any()
    assert written.any() == (width >= 10 + 10)
    assert text.fit_text('cat', 100) == 'cat'
    assert text.fit_text(name, 120).endswith('…')


def test_the_picture_that_is_written_on_stays_as_it_is():
    image = np.zeros((40, 100, 3), np.uint8)
    out = draw_text(image, 'cat', (5, 5), colour=(255, 0, 0))
    assert not image.any()
    assert out[..., 0].max() == 255
    assert not out[..., 1:].any()


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('CAM 97% cat', ['CAM 97% cat']),
        ('CAM 97% baseball glove', ['CAM 97%', 'baseball glove']),
        ('propagated dining table', ['propagated', 'dining table']),
        ('propagated CAM: no class seen', ['propagated CAM:', 'no class seen']),
        ('one-word-that-is-too-long-for-it', ['one-word-that-is-too-long-for-it']),
        ('', ['']),
    ],
)
def test_a_wide_text_is_broken_into_two_lines(line, expected):
    assert break_text(line, 148) == expected
