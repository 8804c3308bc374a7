"""Whether values that a user wrote are what a function declares that it takes."""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, Callable, Union, get_args, get_origin

UNIONS = (Union, getattr(types, 'UnionType', Union))


def type_faults(function: Callable[..., Any], values: Mapping[str, Any], path: str) -> Iterator[str]:
    """Name the values that cannot be what a function's annotations say.

    Args:
        function: Its annotated arguments are looked at, others are not.
        values: By name of the argument.
        path: What stands before the names.

    Example:
        >>> def refine(num_iters: int, dilations: Sequence[int]) -> None: ...
        >>> list(type_faults(refine, dict(num_iters='many', dilations=(1, 2)), 'refiner'))
        ["refiner.num_iters='many' must be int"]
    """
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # of other packages: names that exist for type checkers only
        return
    for name, value in values.items():
        if name in hints and not fits(value, hints[name]):
            yield f'{path}.{name}={value!r} must be {_name(hints[name])}'


def fits(value: Any, hint: Any) -> bool:
    """Whether a value may be of a type, as configs write it: lists for tuples, whole numbers for floats.

    Anything fits a type that is no plain one, but text and numbers are no tensors and modules of torch.

    Example:
        >>> fits([1, 2], tuple[float, float]), fits('1', float), fits(True, int), fits(None, Union[int, None])
        (True, False, False, True)
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in UNIONS:
        return any(fits(value, one) for one in arguments)
    kind = origin or hint
    if kind is None or kind is type(None):
        return value is None
    if kind in (int, float):
        return isinstance(value, (int,) if kind is int else (int, float)) and not isinstance(value, bool)
    if kind in (bool, str):
        return isinstance(value, kind)
    if kind in (tuple, list, Sequence):
        each = cycle([one for one in arguments if one is not Ellipsis] or [Any])
        return _is_sequence(value) and all(fits(x, one) for x, one in zip(value, each))
    if getattr(kind, '__module__', '').startswith('torch'):
        return not isinstance(value, (str, int, float))
    return isinstance(value, Mapping) if kind in (dict, Mapping) else True


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _name(hint: Any) -> str:
    """Write a type as an annotation shows it, without its module."""
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return text.replace('typing.', '').replace('collections.abc.', '').replace('NoneType', 'None')
