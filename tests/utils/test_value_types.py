"""Values against annotated types."""

from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import pytest

from afa_mmseg.utils.value_types import fits, type_faults

FITS = [
    (3, int),
    (3, float),
    (True, bool),
    (None, Optional[int]),
    (['a'], Union[str, Sequence[str]]),
    ([0.3, 1], tuple[float, float]),
    ((1, 2, 3), tuple[int, ...]),
    (dict(a=1), Optional[dict[str, int]]),
    ('anything', Callable[..., int]),
]
MISFITS = [
    ('3', int),
    (1.5, int),
    (True, float),
    (1, bool),
    (3, str),
    (None, int),
    ('a', Optional[int]),
    ('a', Sequence[str]),
    (['a'], Sequence[float]),
    ([0.3, 'a'], tuple[float, float]),
    ([1], dict),
]


@pytest.mark.parametrize(('value', 'hint'), FITS)
def test_what_fits(value, hint):
    assert fits(value, hint)


@pytest.mark.parametrize(('value', 'hint'), MISFITS)
def test_what_does_not(value, hint):
    assert not fits(value, hint)


def test_faults_name_argument_value_and_type():
    def function(size: Optional[int], names: Sequence[str], other=None, **kwargs: Any) -> None: ...

    values = dict(size='big', names=3, other='x', unknown='y')
    assert list(type_faults(function, values, 'model.head')) == [
        "model.head.size='big' must be Optional[int]",
        'model.head.names=3 must be Sequence[str]',
    ]
