"""Text on images: fonts for any script, line breaks."""

import numpy as np
import pytest
from matplotlib import font_manager

from afa_mmseg.visualization import draw_text, text, text_size
from afa_mmseg.visualization.text import break_text, font_file

DEJAVU = str(font_manager.findfont('DejaVu Sans'))


@pytest.mark.parametrize('name', ['dining table', 'кошка', 'قطة'])
def test_scripts_of_the_bundled_font_fill_the_measured_size(name):
    assert font_file(name) == DEJAVU
    width, height = text_size(name)
    rows, columns = np.nonzero(draw_text(np.zeros((40, 300, 3), np.uint8), name, (5, 5)).max(axis=-1) > 128)
    assert 5 + width - 6 < columns.max() < 5 + width + 2
    assert 5 <= rows.min() < rows.max() < 5 + height


def test_another_font_is_used_where_it_has_all_letters(monkeypatch):
    mono = str(font_manager.findfont('DejaVu Sans Mono'))
    letters = {DEJAVU: frozenset(map(ord, 'cat')), mono: frozenset(map(ord, 'cat猫'))}
    monkeypatch.setattr(text, '_letters', lambda file: letters.get(file, frozenset()))
    assert [font_file.__wrapped__(name) for name in ('cat', 'cat 猫', '犬')] == [DEJAVU, mono, DEJAVU]


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('CAM 97% cat', ['CAM 97% cat']),
        ('CAM 97% baseball glove', ['CAM 97%', 'baseball glove']),
        ('one-word-that-is-too-long-for-it', ['one-word-that-is-too-long-for-it']),
        ('', ['']),
    ],
)
def test_wide_text_is_broken_into_two_lines(line, expected):
    assert break_text(line, 148) == expected


def test_captions_share_a_font():
    for percent in range(100):
        text_size(f'cat {percent}%')
    assert text._font_in.cache_info().currsize < 20
